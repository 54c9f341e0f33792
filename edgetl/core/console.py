"""Keeping the output of native libraries off the terminal."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TextIO


@contextmanager
def suppress_native_output(only_prefix: str = "") -> Iterator[None]:
    """Capture what C++ libraries print to standard error, and drop it if the block succeeds.

    They write to the file descriptor itself, so Python's own redirection has no effect on them.
    If the block raises, all captured lines are shown, because they may explain the error.

    Args:
        only_prefix: drop only lines with this prefix; the others are shown when the block ends.
    """
    sys.stderr.flush()
    original = os.dup(2)
    with _memory_file() as captured:
        os.dup2(captured.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            captured.seek(0)
            for line in captured.read().decode(errors="replace").splitlines():
                if failed or not line.startswith(only_prefix):
                    print(line, file=sys.stderr)


def _memory_file() -> BinaryIO:
    """A temporary file, in memory where the system supports it, so that no disk is needed."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("edgetl-chatter"), "w+b")
    return tempfile.TemporaryFile()


def own_stderr() -> TextIO:
    """Standard error under a file descriptor of its own, which is never captured."""
    return os.fdopen(os.dup(2), "w", buffering=1)
