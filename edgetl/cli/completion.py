"""What the shell offers for arguments and options that take a name."""

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def names(list_names: Callable[[], Iterable[str]], *, or_file: bool = False) -> Complete:
    """Offer the names that begin with what is typed.

    Args:
        list_names: returns every name.
        or_file: offer files if no name begins so.
    """

    def complete(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
        found = [CompletionItem(name) for name in list_names() if name.startswith(typed)]
        return found or ([CompletionItem(typed, type="file")] if or_file else [])

    return complete


def backbones() -> Iterable[str]:
    """The networks of the catalogue."""
    from edgetl.workstation.backbones.catalogue import BACKBONES

    return BACKBONES


def devices() -> Iterable[str]:
    """The device profiles that come with edgetl."""
    from edgetl.core.shipped import shipped_names

    return shipped_names("devices")


def engines() -> Iterable[str]:
    """The engines, and "auto"."""
    from edgetl.runtime.engines.registry import ENGINES

    return ["auto", *ENGINES]


def engines_or_all() -> Iterable[str]:
    """The engines, "auto" and "all"."""
    return [*engines(), "all"]


def formats() -> Iterable[str]:
    """The formats of artifacts."""
    from edgetl.workstation.export.formats.registry import FORMATS

    return FORMATS


def recipes() -> Iterable[str]:
    """The recipes that come with edgetl."""
    from edgetl.core.shipped import shipped_names

    return shipped_names("recipes")


def nothing() -> Iterable[str]:
    """No name, for what can only be a file."""
    return ()
