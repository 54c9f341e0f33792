"""The newest frames of live sources: what nobody can classify in time is dropped."""

import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone

from edgetl.capture.feeds import Feed, LiveSource, Pace, Rhythm, Say
from edgetl.capture.reopen import reopened
from edgetl.runtime.sources import Source

# How long the end of a run waits for a camera to be released.
_RELEASE_S = 2.0


@dataclass(eq=False)
class _Slot:
    """The newest frame of one source, or the error that ended its thread."""

    source: LiveSource
    rhythm: Rhythm
    frame: Source | None = None
    error: Exception | None = None


class LatestFrames(Feed):
    """The newest frame of each of several live sources, in turn, until it is closed.

    A thread for each source reads frames as they come and holds only the newest one, so that an
    answer is never about an old frame. A source that is lost is opened again.

    Args:
        sources: the cameras and streams.
        pace: how often to take a frame of each source.
        say: called when a source is lost and when it is back.
    """

    endless = True

    def __init__(self, sources: Sequence[LiveSource], pace: Pace, say: Say) -> None:
        self.dropped: int = 0
        self._slots = deque(_Slot(source, Rhythm(pace.period_s)) for source in sources)
        self._say = say
        self._changed = threading.Condition()
        self._stop = threading.Event()

    def __iter__(self) -> Generator[Source, None, None]:
        """Iterate over the frames. Raises CaptureError if a source cannot be opened at first."""
        threads = [
            threading.Thread(
                target=self._read, args=(slot,), name=f"edgetl-{slot.source.name}", daemon=True
            )
            for slot in self._slots
        ]
        for thread in threads:
            thread.start()
        try:
            while True:
                yield self._next()
        finally:
            self._stop.set()
            # A thread that waits for a dead camera is left behind; it ends with the process.
            deadline = time.monotonic() + _RELEASE_S
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _next(self) -> Source:
        with self._changed:
            while True:
                for slot in self._slots:
                    if slot.error:
                        raise slot.error
                    if slot.frame and not slot.rhythm.wait_s():
                        return self._take(slot)
                waits = [slot.rhythm.wait_s() for slot in self._slots if slot.frame]
                self._changed.wait(min(waits, default=None))

    def _take(self, slot: _Slot) -> Source:
        assert slot.frame is not None
        frame, slot.frame = slot.frame, None
        slot.rhythm.advance()
        self._slots.remove(slot)  # last in line now, so that every source has its turn
        self._slots.append(slot)
        return frame

    def _read(self, slot: _Slot) -> None:
        """Read a source until the feed is closed; runs in a thread."""
        pause = Rhythm(slot.source.period_s)
        try:
            with closing(reopened(slot.source, self._say, self._stop.wait)) as frames:
                for picture in frames:
                    pause.advance()
                    self._put(slot, Source(slot.source.name, picture, datetime.now(timezone.utc)))
                    if self._stop.wait(pause.wait_s()):
                        return
        except Exception as error:  # raised again by the thread that takes the frames
            with self._changed:
                slot.error = error
                self._changed.notify()

    def _put(self, slot: _Slot, frame: Source) -> None:
        with self._changed:
            # A frame that --every passes over is not counted: nobody waited for it.
            if slot.frame and not slot.rhythm.wait_s():
                self.dropped += 1
            slot.frame = frame
            self._changed.notify()
