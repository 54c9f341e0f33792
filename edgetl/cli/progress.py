"""Progress on standard error: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import click

from edgetl.core.console import own_stderr
from edgetl.core.progress import Progress, Silent, Stage

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_PLAIN_EVERY_S = 10.0
_QUIET = "edgetl.quiet"


def silence(context: click.Context) -> None:
    """Have `make_progress` show nothing while the command of this context runs."""
    context.meta[_QUIET] = True


def make_progress() -> Progress:
    """Return bars if standard error is a terminal, else plain lines; with --quiet, nothing."""
    context = click.get_current_context(silent=True)
    if context and context.meta.get(_QUIET):
        return Silent()
    return Bars() if sys.stderr.isatty() else PlainLines()


class Bars:
    """Shows a rich bar with rate, time left and the stage's note."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(file=own_stderr(), highlight=False)

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        """Show a bar for one stage; its last state stays on the terminal."""
        from rich import progress as rich_progress

        columns = (
            rich_progress.TextColumn("{task.description:<16}"),
            rich_progress.BarColumn(bar_width=30),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TextColumn("{task.fields[rate]}"),
            rich_progress.TimeRemainingColumn(compact=True),
            rich_progress.TextColumn("{task.fields[note]}"),
        )
        with rich_progress.Progress(*columns, console=self._console) as bars:
            yield _Bar(bars, bars.add_task(name, total=total, rate="", note=""), unit)

    def say(self, text: str) -> None:
        """Print one line of text."""
        self._console.print(text, markup=False)


class _Bar:
    def __init__(self, bars: "RichProgress", task: "TaskID", unit: str) -> None:
        self._bars, self._task, self._unit = bars, task, unit
        self._start, self._done = time.monotonic(), 0

    def advance(self, count: int = 1, note: str = "") -> None:
        """Advance the bar by `count` and show the note."""
        self._done += count
        rate = self._done / max(1e-6, time.monotonic() - self._start)
        self._bars.update(self._task, advance=count, note=note, rate=f"{rate:.0f} {self._unit}/s")


class PlainLines:
    """Prints a line when a stage ends, and one every ten seconds while it runs."""

    def __init__(self) -> None:
        self._file = own_stderr()

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        """Print lines for one stage."""
        lines = _Lines(name, total, unit, self._file)
        yield lines
        lines.finish()

    def say(self, text: str) -> None:
        """Print one line of text."""
        print(text, file=self._file)


class _Lines:
    def __init__(self, name: str, total: int, unit: str, file: TextIO) -> None:
        self._name, self._total, self._unit, self._file = name, total, unit, file
        self._start = self._last = time.monotonic()
        self._done, self._note = 0, ""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Add `count`, and print a line if the last one is ten seconds old."""
        self._done, self._note = self._done + count, note
        now = time.monotonic()
        if now - self._last >= _PLAIN_EVERY_S:
            self._last = now
            left_s = (now - self._start) / self._done * (self._total - self._done)
            self._print(now, f", {left_s:.0f} s left")

    def finish(self) -> None:
        """Print the closing line."""
        self._print(time.monotonic(), "")

    def _print(self, now: float, left: str) -> None:
        spent_s = now - self._start
        rate = self._done / max(1e-6, spent_s)
        note = f", {self._note}" if self._note else ""
        print(
            f"{self._name}: {self._done}/{self._total} {self._unit}, {rate:.1f}/s, "
            f"{spent_s:.0f} s{left}{note}",
            file=self._file,
        )
