"""Keeping libraries from writing over the terminal."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TextIO


@contextmanager
def native_chatter_dropped(only_prefix: str = "") -> Iterator[None]:
    """Hold back what C++ libraries print to standard error, and drop it if all goes well.

    They write to the file descriptor itself, so Python's own redirection does not reach them.
    Where the block raises, everything held back is shown: it may say why.

    Args:
        only_prefix: drop only lines that begin so; the others are shown afterwards.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with _memory_file() as held:
        os.dup2(held.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                if failed or not line.startswith(only_prefix):
                    print(line, file=sys.stderr)


def _memory_file() -> BinaryIO:
    """A file that needs no writable disk where the system offers one."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("edgetl-chatter"), "w+b")
    return tempfile.TemporaryFile()


def own_stderr() -> TextIO:
    """Standard error under a descriptor of its own, which is never held back."""
    return os.fdopen(os.dup(2), "w", buffering=1)
