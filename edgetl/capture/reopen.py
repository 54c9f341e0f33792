"""Opening a live source again when it is lost, after growing pauses."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import chain, repeat

from edgetl.capture.feeds import CaptureError, LiveSource, Say
from edgetl.core.errors import EdgetlError
from edgetl.runtime.preprocess import Picture

_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
_LONGEST_PAUSE_S = 30.0
# One that has been there for so long was not lost again at once: the pauses start anew.
_STEADY_S = 10.0


def pauses_s() -> Iterator[float]:
    """The seconds to wait before each attempt: 1, 2, 4, 8, 16, then 30 every time."""
    return chain(_PAUSES_S, repeat(_LONGEST_PAUSE_S))


def reopened(
    source: LiveSource, say: Say, wait: Callable[[float], bool]
) -> Generator[Picture, None, None]:
    """Iterate over a live source's frames; open it again whenever it is lost.

    The pauses go on growing while it only comes back for a moment.

    Args:
        source: the camera or stream.
        say: called when it is lost and when it is back.
        wait: waits for a number of seconds; returns true to give up.

    Raises CaptureError if it cannot be opened or gives no frame the first time.
    """
    seen, lost, pauses = False, False, pauses_s()
    while True:
        back_s: float | None = None
        reason = f"'{source.name}' ended."
        try:
            with closing(source.frames()) as frames:
                for frame in frames:
                    if lost:
                        say(f"'{source.name}' is back.")
                        lost = False
                    back_s = back_s or time.monotonic()
                    seen = True
                    yield frame
        except EdgetlError as error:
            if not seen:
                raise
            reason = str(error)
        if not seen:
            raise CaptureError(f"'{source.name}' gave no picture.")
        if not lost:
            say(f"{reason} Trying to open it again.")
            lost = True
        if back_s and time.monotonic() - back_s >= _STEADY_S:
            pauses = pauses_s()
        if wait(next(pauses)):
            return
