"""Write standard input to a file that is either complete or absent, and survives a power cut.

This file is sent to the other machine and run by its own Python: only the standard library.

Arguments: the file's path (~ is the home folder), its mode in octal digits, its size in bytes, and
its sha256.
"""

import hashlib
import os
import select
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

_CHUNK = 1 << 20
# A network that is gone sends no end.
_SILENCE_S = 60.0


def receive(out: BinaryIO, size: int) -> str:
    """Copy standard input to a file; returns its sha256, and exits if it is cut short."""
    digest = hashlib.sha256()
    while size:
        ready, _, _ = select.select([0], [], [], _SILENCE_S)
        chunk = os.read(0, min(_CHUNK, size)) if ready else b""
        if not chunk:
            sys.exit("the connection ended before the file was complete")
        digest.update(chunk)
        out.write(chunk)
        size -= len(chunk)
    return digest.hexdigest()


def main(target: str, mode: str, size: str, sha256: str) -> None:
    """Write through a temporary file next to the target, which is unchanged on failure."""
    path = Path(target).expanduser().absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".edgetl-", dir=str(path.parent))
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            if receive(out, int(size)) != sha256:
                sys.exit("the file arrived with another sha256")
            out.flush()
            os.fchmod(out.fileno(), int(mode, 8))
            os.fsync(out.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise
    folder = os.open(str(path.parent), os.O_RDONLY)
    os.fsync(folder)  # so that the new name is on the disk, too
    os.close(folder)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError as error:
        sys.exit(f"{error.filename or 'the file'}: {error.strerror}")
