"""Progress on standard error: a live bar on a terminal, plain lines elsewhere."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from edgetl.core.console import own_stderr
from edgetl.core.progress import Progress, Silent, Stage

_PLAIN_EVERY_S = 10.0
_REDRAW_EVERY_S = 0.5
_BAR_AFTER_S = 1.0
_BAR_WIDTH = 20
_CLEAR_LINE = "\r\033[2K"
_QUIET = "edgetl.quiet"


def silence(context: click.Context) -> None:
    """Have `make_progress` show nothing while the command of this context runs."""
    context.meta[_QUIET] = True


def make_progress() -> Progress:
    """Return bars if standard error is a terminal, else plain lines; with --quiet, nothing."""
    context = click.get_current_context(silent=True)
    if context and context.meta.get(_QUIET):
        return Silent()
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return Bars() if is_terminal else PlainLines()


class Bars:
    """Shows the running stage as one line that is redrawn, once it has taken a second."""

    def __init__(self) -> None:
        self._file = own_stderr()
        self._lock = threading.Lock()
        self._drawn = ""

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        """Show a bar for one stage; its last state stays on the terminal."""
        counter = _Counter(name, total, unit)
        ended = threading.Event()
        drawer = threading.Thread(target=self._draw_until, args=(ended, counter), daemon=True)
        drawer.start()
        try:
            yield counter
        finally:
            ended.set()
            drawer.join()
            if self._drawn:
                self._draw(counter)
                self._drawn = ""
                print(file=self._file)

    def say(self, text: str) -> None:
        """Print one line of text above the bar."""
        with self._lock:
            print(_CLEAR_LINE * bool(self._drawn), text, sep="", file=self._file)
            self._write(self._drawn)

    def _draw_until(self, ended: threading.Event, counter: "_Counter") -> None:
        wait_s = _BAR_AFTER_S
        while not ended.wait(wait_s):
            self._draw(counter)
            wait_s = _REDRAW_EVERY_S

    def _draw(self, counter: "_Counter") -> None:
        with self._lock:
            columns = os.get_terminal_size(self._file.fileno()).columns or 80
            self._drawn = _CLEAR_LINE + f"{counter.bar()} {counter.text()}"[: columns - 1]
            self._write(self._drawn)

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()


class PlainLines:
    """Prints a line when a stage ends, and one every ten seconds while it runs."""

    def __init__(self) -> None:
        self._file = own_stderr()

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        """Print lines for one stage."""
        lines = _Lines(self, name, total, unit)
        yield lines
        self.say(lines.text())

    def say(self, text: str) -> None:
        """Print one line of text."""
        print(text, file=self._file)


class _Counter:
    """How far a stage is."""

    def __init__(self, name: str, total: int, unit: str) -> None:
        self._name, self._total, self._unit = name, total, unit
        self._start = time.monotonic()
        self._done, self._note = 0, ""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Add `count`, and remember the note."""
        self._done, self._note = self._done + count, note

    def bar(self) -> str:
        """A bar of fixed width, e.g. [#####...............]."""
        full = round(_BAR_WIDTH * min(1.0, self._done / max(1, self._total)))
        return f"[{'#' * full}{'.' * (_BAR_WIDTH - full)}]"

    def text(self) -> str:
        """E.g. "decoding: 20/60 pictures, 10/s, 2 s, 4 s left"."""
        spent_s = time.monotonic() - self._start
        parts = [f"{self._name}: {self._done}/{self._total} {self._unit}"]
        if self._done:
            rate = self._done / max(1e-6, spent_s)
            parts.append(f"{rate:.0f}/s" if rate >= 10 else f"{rate:.2g}/s")
            left = f", {_duration((self._total - self._done) / rate)} left"
        else:
            left = ""
        parts.append(_duration(spent_s) + (left if self._done < self._total else ""))
        return ", ".join([*parts, *([self._note] if self._note else [])])


class _Lines(_Counter):
    def __init__(self, lines: PlainLines, name: str, total: int, unit: str) -> None:
        super().__init__(name, total, unit)
        self._lines, self._last = lines, self._start

    def advance(self, count: int = 1, note: str = "") -> None:
        """Add `count`, and print a line if the last one is ten seconds old.

        The end of a stage has a line of its own.
        """
        super().advance(count, note)
        now = time.monotonic()
        if now - self._last >= _PLAIN_EVERY_S and self._done < self._total:
            self._last = now
            self._lines.say(self.text())


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
