"""Pictures that arrive in a folder, found by looking at it again and again.

The system's notifications of changes do not reach network shares; listing a folder works
everywhere.
"""

import os
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NamedTuple

from edgetl.capture.feeds import Feed, Say
from edgetl.capture.reopen import pauses_s
from edgetl.core.errors import DataError
from edgetl.runtime.preprocess import decode
from edgetl.runtime.sources import Source, is_picture_name

_PERIOD_S = 0.5
# At most a sixth of the time goes into listing a large or slow folder.
_PAUSE_PER_LISTING = 5.0
# How long a file that does not grow may stay incomplete.
_GIVE_UP_S = 30.0


class _Stamp(NamedTuple):
    """What changes when a file is written."""

    modified_ns: int
    size_bytes: int


class _Known(NamedTuple):
    """A file: its last stamp, when it was seen first with it, and whether it was passed on."""

    stamp: _Stamp
    since_s: float
    done: bool


class _Listing(NamedTuple):
    """The pictures in a folder and below it, and what there cannot be looked at."""

    files: dict[str, _Stamp]
    unreadable: list[str]


class WatchedFolder(Feed):
    """The pictures that are put into a folder or the folders below it, in order of their times.

    A file is passed on once it is whole: it has not changed from one listing to the next, and it
    decodes to its end. One that stays incomplete is passed on after `give_up_s`, so that it is
    reported. A picture that is written anew is passed on again. Hidden files and folders, and names
    without a picture's suffix, such as "photo.jpg.part", are left out, and so is what is in the
    folder and cannot be looked at.

    Args:
        folder: the folder.
        existing: whether to pass on what is there at the start, too.
        say: called when the folder is lost, e.g. with its network share, and when it is back.
        period_s: the time from one listing to the next, in seconds.
        give_up_s: how long a file that does not change may stay incomplete, in seconds.

    Raises DataError if there is no such folder, or it cannot be listed.
    """

    endless = True

    def __init__(
        self,
        folder: Path,
        *,
        existing: bool,
        say: Say,
        period_s: float = _PERIOD_S,
        give_up_s: float = _GIVE_UP_S,
    ) -> None:
        if not folder.is_dir():
            raise DataError(f"'{folder}' is not a folder.", hint="--watch needs one that exists.")
        self._folder, self._say = folder, say
        self._period_s, self._give_up_s = period_s, give_up_s
        self._known: dict[str, _Known] = {}
        try:
            there = _listing(folder)
        except OSError as error:
            raise DataError(f"'{folder}' cannot be listed: {error.strerror}.") from error
        if not existing:
            self._known = {path: _Known(stamp, 0.0, True) for path, stamp in there.files.items()}

    def __iter__(self) -> Generator[Source, None, None]:
        """Iterate over the pictures as they arrive."""
        lost, pauses = False, pauses_s()
        while True:
            start = time.monotonic()
            try:
                found = _listing(self._folder)
            except OSError as error:
                if not lost:
                    self._say(f"'{self._folder}' is lost: {error.strerror}. Waiting for it.")
                lost = True
                time.sleep(next(pauses))
                continue
            if lost:
                self._say(f"'{self._folder}' is back.")
                lost, pauses = False, pauses_s()
            listing_s = time.monotonic() - start
            for path in self._whole(found):
                yield Source(path, Path(path))
            time.sleep(max(self._period_s, _PAUSE_PER_LISTING * listing_s))

    def _whole(self, found: _Listing) -> Iterator[str]:
        """The files that are to be passed on now, the oldest first."""
        files = found.files
        # An empty folder may be one whose share or disk is not mounted: its pictures are not new
        # when they are back.
        for gone in self._known.keys() - files.keys() if files else ():
            if not gone.startswith(tuple(found.unreadable)):
                del self._known[gone]
        for path, stamp in sorted(files.items(), key=lambda item: (item[1].modified_ns, item[0])):
            now, known = time.monotonic(), self._known.get(path)
            if known is None or known.stamp != stamp:
                self._known[path] = _Known(stamp, now, False)
            elif not known.done and (_decodes(path) or now - known.since_s >= self._give_up_s):
                self._known[path] = known._replace(done=True)
                yield path


def _decodes(path: str) -> bool:
    """Whether a picture can be decoded to its end; the smallest scale shows it soonest."""
    try:
        decode(path, 1)
    except DataError:
        return False
    return True


def _listing(folder: Path) -> _Listing:
    """List a folder. Raises OSError if that is not possible; what is below it may be unreadable."""
    found = _Listing({}, [])
    _list(str(folder), found)
    return found


def _list(folder: str, found: _Listing) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    _list(entry.path, found)
                elif is_picture_name(Path(entry.name)) and entry.is_file():
                    status = entry.stat()
                    found.files[entry.path] = _Stamp(status.st_mtime_ns, status.st_size)
            except FileNotFoundError:  # removed or renamed in the meantime
                continue
            except OSError:  # e.g. no permission, a link to itself, a disk that is failing
                found.unreadable.append(entry.path)
