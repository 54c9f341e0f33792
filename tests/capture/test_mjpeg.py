import io
import random
from itertools import chain

import pytest
from PIL import Image

from edgetl.capture import mjpeg
from edgetl.capture.mjpeg import JpegSplitter, is_multipart, sizes_in_file
from edgetl.core.errors import DataError
from tests.making import draw, encoded


def pieces(content: bytes, size: int) -> list[bytes]:
    return [content[i : i + size] for i in range(0, len(content), size)]


def split(content: bytes, size: int = 4096) -> list[bytes]:
    splitter = JpegSplitter()
    return list(chain.from_iterable(splitter.feed(piece) for piece in pieces(content, size)))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 4096, 10**9])
def test_jpegs_one_after_another_come_out_bit_for_bit(jpegs: list[bytes], size: int) -> None:
    assert split(b"".join(jpegs), size) == jpegs


def test_a_picture_comes_out_with_its_last_byte_not_with_the_next_picture(
    jpegs: list[bytes],
) -> None:
    splitter = JpegSplitter()
    assert list(splitter.feed(jpegs[0][:-1])) == []
    assert list(splitter.feed(jpegs[0][-1:])) == [jpegs[0]]
    assert splitter.rest() == b""


@pytest.mark.parametrize("size", [1, 64, 4096])
@pytest.mark.parametrize(
    "options",
    [
        {"progressive": True},
        {"restart_marker_rows": 1},
        {"comment": b"\xff\xd8\xff\xe0 looks like a start, and \xff\xd9 like an end"},
        {"optimize": True, "quality": 100},
    ],
    ids=lambda options: next(iter(options)),
)
def test_every_kind_of_jpeg_is_followed_to_its_end(options: dict, size: int) -> None:
    one = encoded(draw("checks", 1), "JPEG", **options)
    two = encoded(draw("slope", 2).convert("L"), "JPEG", **options)
    assert split(one + two + one, size) == [one, two, one]


def test_a_thumbnail_is_part_of_its_picture(jpegs: list[bytes]) -> None:
    thumbnail = encoded(draw("stripes", 3, 16, 16), "JPEG")
    data = b"Exif\0\0" + thumbnail
    segment = b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data
    photo = jpegs[0][:2] + segment + jpegs[0][2:]
    assert Image.open(io.BytesIO(photo)).size == (56, 48)
    assert split(photo + jpegs[1], 100) == [photo, jpegs[1]]


@pytest.mark.parametrize("size", [1, 50, 4096])
def test_what_is_between_pictures_is_skipped(jpegs: list[bytes], size: int) -> None:
    header = b"\r\n--boundary\r\nContent-Type: image/jpeg\r\nContent-Length: 12\r\n\r\n"
    # Starts that no picture follows: a segment that leads to no marker, and markers without data.
    false_starts = b"\xff\xd8\xff\xe0\0\x04ab" + b"cd" * 40 + b"\xff\xd8\xff\xd8\xff\0\xff"
    content = header + jpegs[0] + false_starts + jpegs[1] + b"\xff" + jpegs[2] + header
    assert split(content, size) == jpegs[:3]


def test_a_stream_that_begins_inside_a_picture_is_picked_up_at_the_next(
    jpegs: list[bytes],
) -> None:
    assert split(jpegs[0][300:] + jpegs[1] + jpegs[2]) == jpegs[1:3]


def test_a_picture_that_the_next_one_cuts_off_is_passed_on_as_it_is(jpegs: list[bytes]) -> None:
    cut = jpegs[0][:-200]
    assert split(cut + jpegs[1], 64) == [cut, jpegs[1]]


def test_the_beginning_of_a_picture_is_the_rest(jpegs: list[bytes]) -> None:
    splitter = JpegSplitter()
    assert list(splitter.feed(b"noise" + jpegs[0] + jpegs[1][:500])) == [jpegs[0]]
    assert splitter.rest() == jpegs[1][:500]


def test_a_picture_without_end_is_refused(
    jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mjpeg, "MAX_PICTURE_BYTES", 2 * 1024**2)
    splitter = JpegSplitter()
    assert list(splitter.feed(jpegs[0][:-2])) == []
    with pytest.raises(DataError, match=r"^A picture of the stream is larger than 2 MiB\.$"):
        for _ in range(3):
            list(splitter.feed(b"\0" * 1024**2))


def test_noise_is_not_collected(jpegs: list[bytes]) -> None:
    noise = random.Random(0).randbytes(200_000).replace(b"\xff\xd8", b"\0\0")
    splitter = JpegSplitter()
    assert list(splitter.feed(noise)) == []
    assert len(splitter._bytes) < 4
    assert list(splitter.feed(jpegs[0])) == jpegs[:1]


def test_any_bytes_are_divided_without_an_error(jpegs: list[bytes]) -> None:
    source = random.Random(1)
    for _ in range(300):
        content = bytearray(jpegs[0] + jpegs[1])
        for _ in range(source.randrange(1, 30)):
            content[source.randrange(len(content))] = source.choice([0, 0xD8, 0xD9, 0xDA, 0xFF])
        found = split(bytes(content), 97)
        assert sum(map(len, found)) <= len(content)
        assert all(picture.startswith(b"\xff\xd8") for picture in found)
        assert split(bytes(content), 10**9) == found


def test_a_file_of_several_pictures_says_how_large_they_are(jpegs: list[bytes]) -> None:
    two = encoded(draw("checks", 1), "MPO", save_all=True, append_images=[draw("slope", 2)])
    first, other = split(two)
    assert sizes_in_file(first) == [len(other)]
    assert sizes_in_file(jpegs[0]) == []
    cut = first[: first.index(b"MPF\0") + 10]
    assert sizes_in_file(cut) == []


def test_a_multipart_response_is_told_by_its_first_line() -> None:
    assert is_multipart(b"\r\n--bound")
    assert is_multipart(b"--boundary\r\n")
    assert not is_multipart(b"\xff\xd8\xff\xe0")
    assert not is_multipart(b"")
