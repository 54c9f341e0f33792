"""Pictures on standard input: a single one of any kind, or JPEGs one after another."""

import io
import sys
from collections.abc import Generator, Iterator
from itertools import chain
from typing import cast

from edgetl.capture.feeds import MAX_PICTURE_BYTES, Feed, Pace, Rhythm
from edgetl.capture.mjpeg import CHUNK_BYTES, JpegSplitter, is_multipart, sizes_in_file
from edgetl.core.errors import DataError
from edgetl.runtime.sources import Source


def open_standard_input(name: str, pace: Pace) -> list[Feed]:
    """The pictures on standard input, which are read as they come."""
    return [StandardInput(name, pace)]


class StandardInput(Feed):
    """A picture of any format, or a stream of JPEGs, which is answered while it runs.

    Every picture is passed on: a program that writes faster than pictures are classified waits at
    the pipe. With a pace, the pictures between two moments are left out.

    Raises DataError while iterating if it is empty or a picture is larger than MAX_PICTURE_BYTES.
    """

    def __init__(self, name: str, pace: Pace) -> None:
        self._name = name
        self._rhythm = Rhythm(pace.period_s)
        self._pictures = 0

    @property
    def endless(self) -> bool:
        """Whether it has turned out to be a stream."""
        return self._pictures > 1

    def __iter__(self) -> Generator[Source, None, None]:
        """Iterate over the pictures as they come."""
        chunks = _chunks()
        head = b""
        while len(head) < 4 and (chunk := next(chunks, b"")):
            head += chunk
        if not head:
            raise DataError(
                "Standard input is empty.", hint="e.g. cat photo.jpg | edgetl run BUNDLE -"
            )
        if not _is_stream(head):
            yield Source(self._name, _whole(head, chunks))
            return
        for picture in _jpegs(head, chunks):
            self._pictures += 1
            if not self._rhythm.wait_s():
                self._rhythm.advance()
                yield Source(self._name, picture)


def _chunks() -> Iterator[bytes]:
    """What arrives, without waiting until there is more of it."""
    stream = cast(io.BufferedReader, sys.stdin.buffer)
    return iter(lambda: stream.read1(CHUNK_BYTES), b"")


def _is_stream(head: bytes) -> bool:
    """Whether bytes begin a JPEG, or a multipart response, whose parts are JPEGs."""
    return head.startswith(b"\xff\xd8") or is_multipart(head)


def _whole(head: bytes, chunks: Iterator[bytes]) -> bytes:
    content = bytearray(head)
    for chunk in chunks:
        _add(content, chunk)
    return bytes(content)


def _add(content: bytearray, chunk: bytes) -> None:
    content += chunk
    if len(content) > MAX_PICTURE_BYTES:
        raise DataError(
            f"The picture on standard input is larger than {MAX_PICTURE_BYTES >> 20} MiB.",
            hint="give it as a file.",
        )


def _jpegs(head: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The JPEGs of a stream; the last one may be cut off.

    Of a file that holds several pictures, only the first one, which is the photograph. If there is
    no JPEG that can be followed to its end, everything: decoders forgive more than is followed.
    """
    splitter = JpegSplitter()
    everything, found = bytearray(), False
    rest_of_file: list[int] = []  # sizes of the pictures that are to be left out
    for chunk in chain([head], chunks):
        if not found:
            _add(everything, chunk)
        for picture in splitter.feed(chunk):
            found = True
            everything.clear()
            if rest_of_file[:1] == [len(picture)]:
                del rest_of_file[0]
                continue
            rest_of_file = sizes_in_file(picture)
            yield picture
    rest = splitter.rest() or bytes(everything)
    if rest and not (rest_of_file and len(rest) < rest_of_file[0]):
        yield rest
