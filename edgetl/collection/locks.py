"""Locks of a collected folder: one process collects, and nobody else changes it meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from edgetl.core.errors import EdgetlError

COLLECTING_LOCK = ".collecting.lock"
_CHANGING_LOCK = ".changing.lock"


class FolderInUseError(EdgetlError):
    """A folder that another process collects into."""


def lock_for_collecting(folder: Path) -> BinaryIO:
    """Make this process the one that collects into a folder, until the returned file is closed.

    Raises FolderInUseError if another process is, OSError if the folder cannot be written.
    """
    file = (folder / COLLECTING_LOCK).open("ab")
    try:
        _flock(file, wait=False)
    except BlockingIOError:
        file.close()
        raise FolderInUseError(
            f"Another edgetl collects pictures into '{folder}'.",
            hint="give each its own folder; `edgetl finetune --add` takes several.",
        ) from None
    return file


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Delete pictures or alter records while no other process does. Raises OSError."""
    with (folder / _CHANGING_LOCK).open("ab") as file:
        _flock(file, wait=True)
        yield


def _flock(file: BinaryIO, *, wait: bool) -> None:
    try:
        import fcntl
    except ImportError:  # Windows, where edgetl locks nothing
        return
    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
