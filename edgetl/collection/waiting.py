"""Pictures that wait to be written: few, and of few bytes."""

import threading
import time
from collections import deque
from datetime import datetime
from typing import NamedTuple

from PIL import Image

from edgetl.bundle.reports import Prediction
from edgetl.collection.records import Reason

MAX_PICTURES = 32
MAX_BYTES = 128_000_000
# A disk that takes nothing for so long hangs: nobody waits for it any longer.
MAX_WAIT_S = 30.0


class ChosenPicture(NamedTuple):
    """A picture that is to be kept: encoded bytes or a camera's frame, its answer, and why."""

    picture: bytes | Image.Image
    prediction: Prediction
    time: datetime
    reason: Reason

    @property
    def bytes(self) -> int:
        """How much memory the picture takes."""
        if isinstance(self.picture, bytes):
            return len(self.picture)
        return self.picture.width * self.picture.height * len(self.picture.getbands())


class WaitingPictures:
    """A queue between the thread that classifies and the one that writes."""

    def __init__(self) -> None:
        self._pictures: deque[ChosenPicture] = deque()
        self._bytes = 0
        self._closed = self._stuck = False
        self._changed = threading.Condition()

    def put(self, chosen: ChosenPicture, *, wait: bool) -> bool:
        """Add a picture.

        Returns False if the queue is closed or full; with `wait`, if it has been full for
        `MAX_WAIT_S`. Then nobody waits again until a picture was taken.
        """
        with self._changed:
            if wait and not self._stuck:
                self._stuck = not self._changed.wait_for(
                    lambda: self._closed or self._has_room(chosen), MAX_WAIT_S
                )
            if self._closed or not self._has_room(chosen):
                return False
            self._pictures.append(chosen)
            self._bytes += chosen.bytes
            self._changed.notify_all()
            return True

    def get(self, until: float) -> ChosenPicture | None:
        """Take the oldest picture; None if none came `until` then, by `time.monotonic`."""
        with self._changed:
            while not self._pictures:
                left_s = until - time.monotonic()
                if self._closed or left_s <= 0:
                    return None
                self._changed.wait(left_s)
            chosen = self._pictures.popleft()
            self._bytes -= chosen.bytes
            self._stuck = False
            self._changed.notify_all()
            return chosen

    def close(self) -> None:
        """Take no more pictures; those that wait can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def drop(self) -> int:
        """Throw away the pictures that wait; returns how many."""
        with self._changed:
            dropped, self._bytes = len(self._pictures), 0
            self._pictures.clear()
            return dropped

    @property
    def closed(self) -> bool:
        """Whether it takes no more pictures."""
        with self._changed:
            return self._closed

    def _has_room(self, chosen: ChosenPicture) -> bool:
        if not self._pictures:
            return True  # one picture has room, however large it is
        return len(self._pictures) < MAX_PICTURES and self._bytes + chosen.bytes <= MAX_BYTES
