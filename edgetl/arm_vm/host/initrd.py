"""Write an initrd, the first root file system of Linux: a gzipped cpio archive of plain files."""

import gzip
from collections.abc import Mapping

_PLAIN_FILE = 0o100755
_ALIGN = 4


def write_initrd(files: Mapping[str, bytes]) -> bytes:
    """Returns an archive of executable files, given by name, all in its top folder.

    The format is cpio's "newc" (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
    """
    entries = [_entry(i, name, _PLAIN_FILE, files[name]) for i, name in enumerate(sorted(files), 1)]
    return gzip.compress(b"".join([*entries, _entry(0, "TRAILER!!!", 0, b"")]), 6, mtime=0)


def _entry(inode: int, name: str, mode: int, content: bytes) -> bytes:
    encoded = name.encode() + b"\0"
    links, no_device = 1, (0, 0, 0, 0)
    numbers = (inode, mode, 0, 0, links, 0, len(content), *no_device, len(encoded), 0)
    header = b"070701" + b"".join(b"%08x" % number for number in numbers)
    return _padded(header + encoded) + _padded(content)


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % _ALIGN)
