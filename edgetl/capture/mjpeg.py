"""Dividing a stream of bytes into JPEGs (motion JPEG), whatever is between them."""

import re
import struct
from collections.abc import Iterator

from edgetl.capture.feeds import MAX_PICTURE_BYTES
from edgetl.core.errors import DataError

CHUNK_BYTES = 64 * 1024

# The start of a picture, and the first marker after it: a table, an application's data or a frame.
_START = re.compile(rb"\xff\xd8(?=\xff[\xc0-\xcf\xdb\xdd\xe0-\xef\xfe\xff])", re.DOTALL)
_START_BYTES = 4
# In compressed data: a marker that is neither a stuffed 0xff nor a restart marker.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_FILL, _START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = 0xFF, 0xD8, 0xD9, 0xDA
# Markers without data of their own: restart 0 to 7, and "temporary".
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_HEADER_BYTES = 256 * 1024
# The tag of the list of a file's pictures: attributes, size, offset and dependencies of each.
_MP_ENTRY = 0xB002


class JpegSplitter:
    """Finds the JPEGs in bytes that arrive piece by piece.

    Pictures are followed marker by marker (ITU T.81, annex B), so a thumbnail inside one is part of
    it. What is between pictures is skipped: the lines between the parts of a multipart response, or
    the rest of a picture that had begun before the stream was opened.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._at = 0  # where the next marker is looked for; 0: no picture has begun
        self._compressed = False  # whether compressed data is there

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add bytes, and iterate over the pictures that they complete.

        A picture that is cut off by the start of the next one is passed on as it is. Raises
        DataError if a picture is larger than MAX_PICTURE_BYTES.
        """
        self._bytes += data
        while self._begin():
            end = self._end()
            if end is None:
                if len(self._bytes) > MAX_PICTURE_BYTES:
                    raise DataError(
                        f"A picture of the stream is larger than {MAX_PICTURE_BYTES >> 20} MiB."
                    )
                return
            if end:
                yield bytes(self._bytes[:end])
            self._restart(end or _START_BYTES)

    def rest(self) -> bytes:
        """The beginning of a picture whose end has not arrived; empty if there is none."""
        return bytes(self._bytes) if self._at else b""

    def _restart(self, position: int) -> None:
        """Forget what is before a position; no picture has begun there."""
        del self._bytes[:position]
        self._at, self._compressed = 0, False

    def _begin(self) -> bool:
        """Whether a picture has begun; its first byte is then the first one."""
        if self._at:
            return True
        start = _START.search(self._bytes)
        if not start:
            del self._bytes[: 1 - _START_BYTES]  # these may be the beginning of a start
            return False
        self._restart(start.start())
        self._at = 2
        return True

    def _end(self) -> int | None:
        """Where the picture ends; None if that has not arrived; 0 if it is no picture."""
        content = self._bytes
        while True:
            if self._compressed:
                found = _MARKER.search(content, self._at)
                if not found:
                    self._at = max(self._at, len(content) - 1)
                    return None
                self._at, self._compressed = found.start(), False
            if len(content) < self._at + 2:
                return None
            if content[self._at] != _FILL:
                return 0
            marker = content[self._at + 1]
            if marker == _END_OF_IMAGE:
                return self._at + 2
            if marker == _START_OF_IMAGE:
                return self._at
            if not self._skip(marker):
                return None

    def _skip(self, marker: int) -> bool:
        """Go past a marker and its data; false if its length has not arrived."""
        if marker == _FILL:  # any number of these may precede a marker
            self._at += 1
        elif marker in _ALONE:
            self._at += 2
        elif len(self._bytes) < self._at + 4:
            return False
        else:
            self._at += 2 + int.from_bytes(self._bytes[self._at + 2 : self._at + 4], "big")
            self._compressed = marker == _START_OF_SCAN
        return True


def is_multipart(head: bytes) -> bool:
    """Whether a response begins with a line between parts, as a multipart response does."""
    return head.lstrip(b"\r\n").startswith(b"--")


def sizes_in_file(jpeg: bytes) -> list[int]:
    """The sizes in bytes of the JPEGs that follow this one in its file.

    Phones write a photograph and then, for example, its gain map in one file, and list them in the
    photograph's header (CIPA DC-007, "Multi-Picture Format"). An editor that leaves the others out
    may leave the list. Empty for every other JPEG.
    """
    start = jpeg.find(b"MPF\0", 0, _HEADER_BYTES) + 4
    if start < 4:
        return []
    order = "<" if jpeg[start : start + 2] == b"II" else ">"
    try:
        (directory,) = struct.unpack_from(f"{order}I", jpeg, start + 4)
        (entries,) = struct.unpack_from(f"{order}H", jpeg, start + directory)
        for i in range(entries):
            place = start + directory + 2 + 12 * i
            tag, _, count, offset = struct.unpack_from(f"{order}HHII", jpeg, place)
            if tag == _MP_ENTRY:
                listed = jpeg[start + offset : start + offset + min(count, _HEADER_BYTES)]
                sizes = [size for _, size, _, _ in struct.iter_unpack(f"{order}IIII", listed)]
                return sizes[1:]
    except struct.error:  # a damaged header
        pass
    return []
