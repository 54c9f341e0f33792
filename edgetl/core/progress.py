"""How long work tells that it is alive, without knowing who listens."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Stage(Protocol):
    """One piece of work under way."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """`count` more units are done; `note` replaces the stage's remark, e.g. "loss 0.31"."""
        ...


class Progress(Protocol):
    """Where stages and remarks are shown (never standard output)."""

    def stage(self, name: str, total: int, unit: str) -> AbstractContextManager[Stage]:
        """Begin work of `total` units, e.g. ("decoding", 2012, "pictures")."""
        ...

    def say(self, text: str) -> None:
        """One remark on a line of its own."""
        ...


class _SilentStage:
    def advance(self, count: int = 1, note: str = "") -> None:
        """Nobody listens."""


class Silent:
    """Shows nothing: the default for library calls."""

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        """A stage nobody sees."""
        yield _SilentStage()

    def say(self, text: str) -> None:
        """Nobody listens."""
