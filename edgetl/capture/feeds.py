"""What the pictures of a run come from: feeds, and the live sources behind some of them."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple

from edgetl.core.errors import EdgetlError
from edgetl.runtime.preprocess import Picture
from edgetl.runtime.sources import Source

# Larger than any camera's JPEG; what is larger is not a picture.
MAX_PICTURE_BYTES = 64 * 1024**2
# Called with a sentence about a source that was lost or came back.
Say = Callable[[str], None]


class CaptureError(EdgetlError):
    """A camera or a stream that cannot be opened, or that was lost."""


class Feed(ABC):
    """Pictures to classify, one after another.

    Attributes:
        count: how many there are; None if that is not known.
        ahead: whether the next pictures may be read before one is answered. Not those of a camera
            or a pipe: the answer to one picture would have to wait for the next.
        dropped: how many frames were replaced by newer ones before they could be classified; None
            for feeds that drop nothing.
    """

    count: int | None = None
    ahead = False
    dropped: int | None = None

    @property
    def endless(self) -> bool:
        """Whether it goes on until it is interrupted."""
        return False

    @property
    def live(self) -> bool:
        """Whether cameras or streams have to be opened first: only a frame shows that they work."""
        return self.dropped is not None

    @abstractmethod
    def __iter__(self) -> Generator[Source, None, None]:
        """Iterate over the pictures, once. Closing the generator releases what it holds open.

        Raises DataError if a file or standard input cannot be read, CaptureError if a camera or
        stream cannot be opened.
        """


class Pictures(Feed):
    """Picture files, or other pictures that are all there."""

    ahead = True

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self.count = len(sources)

    def __iter__(self) -> Generator[Source, None, None]:
        yield from self.sources


class LiveSource(ABC):
    """A camera, or a stream in place of one.

    Attributes:
        name: the name to report, without a password.
        period_s: the least time between two frames, in seconds; 0: as fast as they come.
    """

    name: str
    period_s = 0.0

    @abstractmethod
    def frames(self) -> Generator[Picture, None, None]:
        """Open it, and iterate over its frames as they come, until it is lost.

        It may be opened again afterwards. Closing the generator releases it. Raises CaptureError if
        it cannot be opened, or says why it was lost.
        """


class Pace(NamedTuple):
    """How often to take a frame.

    Attributes:
        every_s: the time from one frame to the next in seconds, for a video of the video's own
            time; None: every frame.
        max_fps: the largest number of frames a second; None: no limit.
    """

    every_s: float | None = None
    max_fps: float | None = None

    @property
    def period_s(self) -> float:
        """The least time between two frames of a live source, in seconds."""
        return max(self.every_s or 0.0, self.max_period_s)

    @property
    def max_period_s(self) -> float:
        """The least time between two frames because of `max_fps`, in seconds."""
        return 1 / self.max_fps if self.max_fps else 0.0


class Rhythm:
    """Moments that are `period_s` seconds apart, or further where the work takes longer."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._due = -float("inf")

    def wait_s(self) -> float:
        """The seconds until the next moment; 0 if it has come."""
        return max(0.0, self._due - time.monotonic())

    def advance(self) -> None:
        """Take the current moment; the next one is a period later."""
        now = time.monotonic()
        in_time = now - self._due < self._period_s
        self._due = (self._due if in_time else now) + self._period_s
