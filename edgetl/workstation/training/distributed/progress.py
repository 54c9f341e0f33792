"""Showing one process's share of the work as the whole, because the others are as fast."""

from collections.abc import Iterator
from contextlib import contextmanager

from edgetl.core.progress import Progress, Stage
from edgetl.workstation.training.distributed.ranks import Ranks


@contextmanager
def shared_stage(progress: Progress, name: str, count: int, ranks: Ranks) -> Iterator[Stage]:
    """A stage of `count` pictures, of which this process reports only its own share as done."""
    share = ranks.share(count)
    with progress.stage(name, count, "pictures") as shown:
        yield _WholeStage(shown, share.stop - share.start, count) if ranks.several else shown


class _WholeStage:
    def __init__(self, shown: Stage, share: int, whole: int) -> None:
        self._shown, self._share, self._whole = shown, max(1, share), whole
        self._done = 0

    def advance(self, count: int = 1, note: str = "") -> None:
        """Report `count` more of the share as done."""
        before, self._done = self._done, min(self._share, self._done + count)
        self._shown.advance(self._scaled(self._done) - self._scaled(before), note)

    def _scaled(self, done: int) -> int:
        return round(done * self._whole / self._share)
