"""Registries of what edgetl comes with and of what other installed packages add.

A package adds an entry by declaring an entry point (https://packaging.python.org/en/latest/
specifications/entry-points/) of the registry's group, whose object is a spec of the registry's
kind. docs/extending.md has a worked example.
"""

import importlib
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class PluginWarning(UserWarning):
    """A package's entry point that is left out, and why."""


class Registry(Mapping[str, T]):
    """Specs by name: edgetl's own in their order, then those of other packages by name.

    Installed packages are searched when a name is looked up that is not edgetl's own, or when
    everything is listed: what a device usually needs is found without that search, which takes
    tens of milliseconds. An entry point that cannot be imported, is not a spec, or takes a name
    that is taken is left out with a `PluginWarning`; everything else works.

    Attributes:
        group: the entry points' group, e.g. "edgetl.engines".
    """

    def __init__(self, group: str, kind: type[T], own: Mapping[str, "T | str"]) -> None:
        """`own`: by name, the spec or where it is, "module:attribute"; `kind`: the specs' type."""
        self.group = group
        self._kind = kind
        self._own = dict(own)
        self._added: dict[str, T] | None = None
        self._problems: list[str] = []

    def __getitem__(self, name: str) -> T:
        if name not in self._own:
            return self._plugins()[name]
        found = self._own[name]
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            found = getattr(importlib.import_module(module), attribute)
            self._own[name] = found
        return found

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from self._plugins()

    def __len__(self) -> int:
        return len(self._own) + len(self._plugins())

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._plugins()

    def own(self) -> list[T]:
        """edgetl's own specs, without a search for those of other packages."""
        return [self[name] for name in self._own]

    def problems(self) -> list[str]:
        """Why entry points were left out, a sentence each."""
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
        except Exception as error:  # a package's code may raise anything
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
