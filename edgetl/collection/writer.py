"""The thread that writes pictures and counts into a collected folder."""

import hashlib
import io
import threading
import time
from collections.abc import Callable
from datetime import timezone
from functools import partial
from pathlib import Path

import msgspec

from edgetl.collection.days import DayBook
from edgetl.collection.labels import BundleLabels, write_labels
from edgetl.collection.locks import FolderInUseError
from edgetl.collection.records import (
    REASONS,
    RECORD_VERSION,
    Reason,
    Record,
    picture_name,
    storable,
)
from edgetl.collection.store import PictureStore
from edgetl.collection.waiting import ChosenPicture, WaitingPictures
from edgetl.core.errors import EdgetlError

_WRITE_COUNTS_EVERY_S = 60.0
# After an error the folder is left alone for this time.
RETRY_S = 60.0
# Trouble that goes on, or comes again, is reported once in this time.
_REPORT_EVERY_S = 3600.0
# At the end, a disk that takes nothing for so long is not waited for any longer.
CLOSE_S = 10.0
_JPEG_QUALITY = 95
_MAX_SOURCE_LENGTH = 200

# How the formats that a classifier reads begin, and what their files' names end in.
_FORMATS = (
    (b"\xff\xd8\xff", "jpg"), (b"\x89PNG", "png"), (b"GIF8", "gif"), (b"BM", "bmp"),
    (b"RIFF", "webp"), (b"II*\0", "tif"), (b"MM\0*", "tif"), (b"P6", "ppm"), (b"P5", "pgm"),
)  # fmt: skip


class FolderWriter:
    """Writes into a collected folder, on a thread; trouble is reported and never raised.

    After an error it leaves the folder alone for a minute, and then tries again.

    Args:
        folder: made if missing.
        bundle: what answers.
        days: the counts of all answers.
        max_bytes: what the pictures may take (`PictureStore`).
        say: called with a sentence about trouble, from any thread.

    Attributes:
        kept: the number of pictures that were written, by reason.
        lost: how many were not, because the disk was too slow or took none.

    Raises FolderInUseError if another process collects into the folder.
    """

    def __init__(
        self,
        folder: Path,
        bundle: BundleLabels,
        days: DayBook,
        max_bytes: int,
        say: Callable[[str], None],
    ) -> None:
        self._folder, self._bundle, self._days = folder, bundle, days
        self._max_bytes, self._say = max_bytes, say
        self.kept: dict[Reason, int] = dict.fromkeys(REASONS, 0)
        self.lost = 0
        self._store: PictureStore | None = None
        self._paused_until = self._reported_at = -float("inf")
        self._full_reported = False
        self._lock = threading.Lock()
        self._tried, self._writing = 0, False  # how often something was, and a picture is, written
        self._waiting = WaitingPictures()
        try:
            self._opened()
        except FolderInUseError:
            raise
        except (EdgetlError, OSError) as error:
            self._pause(error)
        self._thread = threading.Thread(target=self._run, name="edgetl-collect", daemon=True)
        self._thread.start()

    @property
    def paused(self) -> bool:
        """Whether the folder is left alone after an error."""
        return time.monotonic() < self._paused_until

    def put(self, chosen: ChosenPicture, *, wait: bool) -> None:
        """Have a picture written; it is lost if too many wait, with `wait` only after a while."""
        if not self._waiting.put(chosen, wait=wait):
            self.lose()

    def lose(self, count: int = 1) -> None:
        """Count pictures that were to be kept and are not."""
        with self._lock:
            self.lost += count

    def close(self) -> None:
        """Write the counts and what waits, and let other processes collect into the folder.

        What is still left after `CLOSE_S` seconds in which nothing was written is lost.
        """
        self._waiting.close()
        tried = -1
        while self._thread.is_alive() and tried != self._tried:
            tried = self._tried
            self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            self.lose(self._waiting.drop() + self._writing)
            self._say(f"'{self._folder}' takes too long to write to; what was left is lost.")

    def _run(self) -> None:
        due = time.monotonic() + _WRITE_COUNTS_EVERY_S
        try:
            while not self._waiting.closed:
                self._keep(self._waiting.get(until=due))
                if time.monotonic() >= due:
                    self._try(lambda _: self._days.write())
                    due = time.monotonic() + _WRITE_COUNTS_EVERY_S
            # The counts stand for all answers, and go before single pictures.
            self._paused_until = -float("inf")
            self._try(lambda _: self._days.write())
            self._paused_until = -float("inf")
            while chosen := self._waiting.get(until=0.0):
                self._keep(chosen)
        finally:  # also after a bug: nobody must wait for this thread
            self._waiting.close()
            if self._store:
                self._store.close()

    def _keep(self, chosen: ChosenPicture | None) -> None:
        if chosen:
            self._writing = True
            if not self._try(partial(self._write, chosen)):
                self.lose()
            self._writing = False

    def _try(self, write: Callable[[PictureStore], None]) -> bool:
        """Write something; returns False, after a report, if that is not possible."""
        if self.paused:
            return False
        try:
            write(self._opened())
        except (EdgetlError, OSError) as error:
            self._pause(error)
            return False
        finally:
            self._tried += 1
        return True

    def _opened(self) -> PictureStore:
        """The store, opened again if its folder was not there. Raises EdgetlError, OSError."""
        if self._store and not self._folder.is_dir():
            self._store.close()
            self._store = None
        if self._store is None:
            store = PictureStore(self._folder, self._max_bytes)
            try:
                write_labels(self._folder, self._bundle)
            except BaseException:  # both are done again, or the labels would be missing for good
                store.close()
                raise
            self._store = store
        return self._store

    def _pause(self, error: EdgetlError | OSError) -> None:
        now = time.monotonic()
        self._paused_until = now + RETRY_S
        if now - self._reported_at >= _REPORT_EVERY_S:
            self._reported_at = now
            text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            self._say(
                f"no pictures are kept in '{self._folder}' for now: {text.rstrip('.')}. "
                "It is tried again every minute."
            )

    def _write(self, chosen: ChosenPicture, store: PictureStore) -> None:
        content = _encoded(chosen)
        record = _record(content, chosen, self._bundle.digest)
        outcome = store.add(content, record)
        if outcome == "kept":
            self.kept[chosen.reason] += 1
        elif outcome == "no room" and chosen.reason == REASONS[-1] and not self._full_reported:
            self._full_reported = True
            self._say(
                f"'{self._folder}' has no room for more: its pictures were reviewed, or this one "
                "is larger than --max-mb. Move the folder away, or give it more."
            )


def _encoded(chosen: ChosenPicture) -> bytes:
    """The picture's bytes; of a camera's frame, a JPEG."""
    if isinstance(chosen.picture, bytes):
        return chosen.picture
    file = io.BytesIO()
    chosen.picture.convert("RGB").save(file, "JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()


def _record(content: bytes, chosen: ChosenPicture, bundle: str) -> Record:
    sha256 = hashlib.sha256(content).hexdigest()
    suffix = next((s for start, s in _FORMATS if content.startswith(start)), "img")
    # The source may be a client's file name: any text of any length.
    source = storable(chosen.prediction.source)[:_MAX_SOURCE_LENGTH]
    return Record(
        version=RECORD_VERSION,
        time=chosen.time.astimezone(timezone.utc).isoformat(timespec="milliseconds"),
        picture=picture_name(chosen.time, chosen.reason, sha256, suffix),
        sha256=sha256,
        bytes=len(content),
        bundle=bundle,
        prediction=msgspec.structs.replace(chosen.prediction, source=source, heatmap=None),
        reason=chosen.reason,
    )
