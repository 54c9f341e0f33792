"""The interface through which long-running work reports its progress."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Stage(Protocol):
    """One stage of the work, while it runs."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Report `count` more units as done; `note`, e.g. "loss 0.31", replaces the last note."""
        ...


class Progress(Protocol):
    """Shows stages and messages to the user (never on standard output)."""

    def stage(self, name: str, total: int, unit: str) -> AbstractContextManager[Stage]:
        """Begin a stage of `total` units, e.g. ("decoding", 2012, "pictures")."""
        ...

    def say(self, text: str) -> None:
        """Show a message on a line of its own."""
        ...


class _SilentStage:
    def advance(self, count: int = 1, note: str = "") -> None:
        """Do nothing."""


class Silent:
    """A `Progress` that shows nothing: the default for library calls."""

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        """Begin a stage that is not shown."""
        yield _SilentStage()

    def say(self, text: str) -> None:
        """Do nothing."""
