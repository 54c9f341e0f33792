"""Atomic writes, so that a file is either complete or absent; hashes; the cache folder."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from edgetl.core.errors import EdgetlError

_CHUNK = 1 << 20


def cache_folder() -> Path:
    """The folder of cached files: $EDGETL_CACHE, else `edgetl` in the user's cache folder."""
    chosen = os.environ.get("EDGETL_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgetl"


def data_folder() -> Path:
    """The folder of what edgetl keeps for the user: $EDGETL_DATA, else `edgetl` in the data folder.

    Unlike the cache, nothing here can be made again.
    """
    chosen = os.environ.get("EDGETL_DATA")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "edgetl"


def sha256_of(path: Path) -> str:
    """The hex sha256 of a file. Raises OSError if it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file next to `path`, and rename it to `path` if the block succeeds.

    Raises EdgetlError if `path` cannot be written.
    """
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
            Path(temporary).chmod(0o666 & ~_umask())
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text through a temporary file. Raises EdgetlError."""
    with atomic_write(path) as file:
        file.write(text.encode())


def write_durably(path: Path, content: bytes) -> None:
    """Write a file through a temporary one, so that after a power cut it is whole or absent.

    It waits until the content is on the disk, which may take a tenth of a second. Raises
    EdgetlError.
    """
    with atomic_write(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def make_folder(path: Path) -> None:
    """Create a folder and its parents. Raises EdgetlError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error


def require_writable(path: Path) -> None:
    """Check before hours of work that their result can be written to `path`.

    Raises EdgetlError if `path` is a folder or no file can be created next to it.
    """
    if path.is_dir():
        raise EdgetlError(f"'{path}' is a folder.", hint="name a file, e.g. model.edgetl")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> EdgetlError:
    """The EdgetlError for a path that cannot be written."""
    return EdgetlError(
        f"'{path}' cannot be written: {error.strerror or error}.",
        hint="choose another place with -o, or make room or permission there.",
    )


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
