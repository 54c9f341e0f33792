"""Registries of specs: those that come with edgetl and those that other packages add.

A package adds a spec by declaring an entry point (https://packaging.python.org/en/latest/
specifications/entry-points/) in the registry's group. The entry point's object must be a spec of
the registry's type. docs/extending.md has a worked example.
"""

import importlib
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class PluginWarning(UserWarning):
    """The warning that a package's entry point is left out, and why."""


class Registry(Mapping[str, T]):
    """Specs by name: edgetl's own in their order, then those of other packages sorted by name.

    Installed packages are searched only when a name is looked up that is not edgetl's own, or when
    all specs are listed: the search takes tens of milliseconds, and a device usually needs only
    edgetl's own specs. An entry point is left out with a `PluginWarning` if it cannot be imported,
    is not a spec, or has a name that is already used; the other specs still work.

    Attributes:
        group: the group of the entry points, e.g. "edgetl.engines".
    """

    def __init__(self, group: str, kind: type[T], own: Mapping[str, "T | str"]) -> None:
        """Make a registry of the specs in `own`; entry points are loaded later.

        Args:
            group: the group of the entry points.
            kind: the type of the specs.
            own: edgetl's own specs by name, each as a spec or as "module:attribute".
        """
        self.group = group
        self._kind = kind
        self._own = dict(own)
        self._added: dict[str, T] | None = None
        self._problems: list[str] = []

    def __getitem__(self, name: str) -> T:
        if name not in self._own:
            return self._plugins()[name]
        spec = self._own[name]
        if isinstance(spec, str):
            module, _, attribute = spec.partition(":")
            spec = getattr(importlib.import_module(module), attribute)
            self._own[name] = spec
        return spec

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from self._plugins()

    def __len__(self) -> int:
        return len(self._own) + len(self._plugins())

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._plugins()

    def own(self) -> list[T]:
        """edgetl's own specs; does not search other packages."""
        return [self[name] for name in self._own]

    def problems(self) -> list[str]:
        """Why entry points were left out, one sentence for each."""
        self._plugins()
        return list(self._problems)

    def _plugins(self) -> dict[str, T]:
        if self._added is None:
            from importlib.metadata import entry_points

            self._added = {}
            for point in sorted(entry_points(group=self.group), key=lambda p: p.name):
                self._add(point, self._added)
        return self._added

    def _add(self, point: "EntryPoint", added: dict[str, T]) -> None:
        if point.name in self._own or point.name in added:
            self._leave_out(point, "the name is taken")
            return
        try:
            spec: Any = point.load()
        except Exception as error:  # a package's code may raise any exception
            self._leave_out(point, f"{type(error).__name__}: {error}")
            return
        if not isinstance(spec, self._kind) or getattr(spec, "name", None) != point.name:
            self._leave_out(point, f"'{point.value}' is not an {self._kind.__name__} of that name")
            return
        added[point.name] = spec

    def _leave_out(self, point: "EntryPoint", why: str) -> None:
        package = f"package '{point.dist.name}'" if point.dist else "a package"
        problem = f"'{point.name}' of {self.group} from {package} is left out: {why}."
        self._problems.append(problem)
        warnings.warn(problem, PluginWarning, stacklevel=2)
