"""What is sent to another machine: bytes, or a file here."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from edgetl.core.errors import EdgetlError

CHUNK_BYTES = 1 << 20
Content = bytes | Path


@contextmanager
def opened(content: Content) -> Iterator[IO[bytes]]:
    """Open a content at its beginning. Raises EdgetlError if the file cannot be read."""
    if isinstance(content, bytes):
        with tempfile.TemporaryFile() as file:  # it may become a process's standard input
            file.write(content)
            file.seek(0)
            yield file
        return
    try:
        with content.open("rb") as file:
            yield file
    except OSError as error:
        raise EdgetlError(
            f"'{content}' cannot be read: {error.strerror}.",
            hint="check that it exists and that you may read it.",
        ) from error


def measured(content: Content) -> tuple[int, str]:
    """The size in bytes and the sha256 of a content. Raises EdgetlError if it cannot be read."""
    digest, size = hashlib.sha256(), 0
    with opened(content) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


def chunks(content: Content, size: int) -> Iterator[bytes]:
    """Yields the first `size` bytes of a content. Raises EdgetlError if it has become shorter."""
    with opened(content) as file:
        while size:
            chunk = file.read(min(CHUNK_BYTES, size))
            if not chunk:
                raise EdgetlError(f"'{content!s}' became shorter while it was sent.")
            yield chunk
            size -= len(chunk)


def read_all(file: IO[bytes]) -> bytes:
    """All that was written to a temporary file."""
    file.seek(0)
    return file.read()
