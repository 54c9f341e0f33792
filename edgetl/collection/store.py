"""The folder that pictures are collected in: never over its size, and never the end of the disk."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from edgetl.collection.locks import changing, lock_for_collecting
from edgetl.collection.records import (
    HASH_DIGITS,
    REASONS,
    NameParts,
    Reason,
    Record,
    name_parts,
    read_record,
)
from edgetl.core.errors import EdgetlError
from edgetl.core.files import write_durably
from edgetl.core.schema import to_json

# What is left free on the disk: the smaller of the two.
MIN_FREE_BYTES, MIN_FREE_SHARE = 500_000_000, 0.05

Outcome = Literal["kept", "known", "no room"]


class PictureStore:
    """The pictures in a folder, which only this process adds to.

    When they take more than `max_bytes`, pictures are deleted: the random ones first, then the
    uncertain ones, then the unknown ones, and of each the oldest first. Pictures that a person has
    reviewed are never deleted.

    Args:
        folder: made if missing; what is in it already counts.
        max_bytes: how much the pictures and their records may take.

    Attributes:
        bytes: what the pictures and their records take.

    Raises FolderInUseError if another process collects into the folder, OSError if it cannot be
    written.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._max_bytes = folder, max_bytes
        self._lock = lock_for_collecting(folder)
        try:
            with changing(folder):
                _delete_unfinished(folder)
            # By reason, each in the order in which the pictures came.
            self._sizes: dict[Reason, dict[str, int]] = {reason: {} for reason in REASONS}
            self._names: dict[str, str] = {}  # by the digits of their hash
            self._reviewed: set[str] = set()
            self.bytes = 0
            for name, size, recorded in _found(folder):
                self._enter(name, size, known=recorded)
        except BaseException:
            self._lock.close()
            raise

    def add(self, content: bytes, record: Record) -> Outcome:
        """Write a picture and then its record, each whole or not at all.

        Returns "known" if the same picture is in the folder already, "no room" if the folder is
        full of pictures that are not deleted for this one. Raises OSError if the disk is full,
        EdgetlError if the folder cannot be written.
        """
        if record.sha256[:HASH_DIGITS] in self._names:
            return "known"
        described = to_json(record).encode()
        needed = len(content) + len(described)
        self._require_free(needed)
        if not self._make_room(needed, record.reason):
            return "no room"
        picture = self._folder / record.picture
        try:
            write_durably(picture, content)
            write_durably(picture.with_suffix(".json"), described)
        except BaseException:
            picture.unlink(missing_ok=True)
            raise
        self._enter(record.picture, needed, known=True)
        return "kept"

    def close(self) -> None:
        """Let other processes collect into the folder."""
        self._lock.close()

    def _enter(self, name: str, size: int, *, known: bool) -> None:
        parts = _parts(name)
        self._sizes[parts.reason][name] = size
        self.bytes += size
        if known:
            self._names[parts.digits] = name

    def _make_room(self, needed: int, reason: Reason) -> bool:
        """Delete pictures until `needed` bytes are left, none that is worth more than `reason`.

        Nothing is deleted if that does not suffice.
        """
        excess = self.bytes + needed - self._max_bytes
        if excess <= 0:
            return True
        candidates = {
            name: size
            for each in REASONS[: REASONS.index(reason) + 1]
            for name, size in self._sizes[each].items()
            if name not in self._reviewed
        }
        if sum(candidates.values()) < excess:
            return False
        with changing(self._folder):
            chosen: list[str] = []
            for name, size in candidates.items():
                if excess <= 0:
                    break
                if _is_reviewed(self._folder / name):
                    self._reviewed.add(name)
                else:
                    chosen.append(name)
                    excess -= size
            if excess > 0:
                return False
            for name in chosen:
                self._delete(name)
        return True

    def _delete(self, name: str) -> None:
        parts = _parts(name)
        if self._names.get(parts.digits) == name:
            del self._names[parts.digits]
        self.bytes -= self._sizes[parts.reason].pop(name)
        picture = self._folder / name
        # The record first: readers never see one whose picture is gone.
        picture.with_suffix(".json").unlink(missing_ok=True)
        picture.unlink(missing_ok=True)

    def _require_free(self, needed: int) -> None:
        usage = shutil.disk_usage(self._folder)
        least = min(MIN_FREE_BYTES, int(MIN_FREE_SHARE * usage.total))
        if usage.free - needed < least:
            raise OSError(errno.ENOSPC, f"less than {least / 1e6:.0f} MB are free on its disk")


def _parts(name: str) -> NameParts:
    parts = name_parts(name)
    assert parts is not None  # the store has made the name
    return parts


def _found(folder: Path) -> Iterator[tuple[str, int, bool]]:
    """The pictures in a folder: name, size with the record, and whether there is a record.

    A picture without one was written just before a power cut: it counts, and can come once more.
    """
    with os.scandir(folder) as entries:
        sizes = {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    for name, size in sorted(sizes.items()):
        if name_parts(name):
            record_size = sizes.get(str(Path(name).with_suffix(".json")), 0)
            yield name, size + record_size, record_size > 0


def _delete_unfinished(folder: Path) -> None:
    """Delete the temporary files of `atomic_write` that a power cut left behind."""
    for path in folder.glob(".*.*.*"):
        name = Path(path.name[1:]).stem
        if name_parts(str(Path(name).with_suffix(".jpg"))):  # a picture's or a record's
            path.unlink(missing_ok=True)


def _is_reviewed(picture: Path) -> bool:
    """Whether a picture is, or may be, reviewed: its record may be of a newer edgetl."""
    record = picture.with_suffix(".json")
    try:
        return read_record(record).record.review is not None
    except EdgetlError:
        return record.exists() and picture.exists()
