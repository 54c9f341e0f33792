import io
import sys

import pytest

from edgetl.capture import standard_input
from edgetl.capture.feeds import Pace
from edgetl.capture.mjpeg import JpegSplitter
from edgetl.capture.standard_input import StandardInput
from edgetl.core.errors import DataError
from edgetl.runtime.preprocess import decode
from edgetl.runtime.sources import Source
from tests.making import draw, encoded


class Pipe(io.BytesIO):
    """Arrives a hundred bytes at a time."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return self.read(100)


def feed(content: bytes, monkeypatch: pytest.MonkeyPatch, **pace: float) -> StandardInput:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Pipe(content)))
    return StandardInput("-", Pace(**pace))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "GIF", "TIFF", "JPEG"])
def test_a_single_picture_of_any_kind_is_one_picture(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encoded(draw("checks", 1), kind)
    pictures = feed(content, monkeypatch)
    assert list(pictures) == [Source("-", content)]
    assert not pictures.endless


def test_jpegs_one_after_another_are_a_stream(
    jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = feed(b"".join(jpegs), monkeypatch)
    assert list(pictures) == [Source("-", jpeg) for jpeg in jpegs]
    assert pictures.endless


def test_a_multipart_response_is_a_stream(
    jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = b"--boundary\r\nContent-Type: image/jpeg\r\n\r\n%b\r\n"
    content = b"\r\n" + b"".join(part % jpeg for jpeg in jpegs)
    assert [source.picture for source in feed(content, monkeypatch)] == jpegs


def test_a_stream_whose_last_picture_is_cut_off_ends_with_what_there_is(
    jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = feed(jpegs[0] + jpegs[1][:-50], monkeypatch)
    assert [source.picture for source in pictures] == [jpegs[0], jpegs[1][:-50]]


def test_of_a_photograph_with_more_pictures_in_its_file_only_the_first_is_answered(
    jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = encoded(draw("checks", 1), "MPO", save_all=True, append_images=[draw("slope", 2)])
    first, *more = [source.picture for source in feed(photo + jpegs[0], monkeypatch)]
    assert photo.startswith(first)
    assert len(first) < len(photo)
    assert more == [jpegs[0]]
    assert len(list(feed(photo[:-20], monkeypatch))) == 1


def test_photographs_after_one_whose_other_pictures_are_gone_are_answered(
    jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    more = [draw("slope", 2), draw("stripes", 3)]
    photo = encoded(draw("checks", 1), "MPO", save_all=True, append_images=more)
    (first, *_) = JpegSplitter().feed(photo)  # as an editor leaves it: it still lists three
    stream = [first, jpegs[0], jpegs[1], first, jpegs[2]]
    assert [source.picture for source in feed(b"".join(stream), monkeypatch)] == stream


def test_a_photograph_with_a_stray_byte_is_passed_on_whole(
    jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    first_segment_ends = 4 + int.from_bytes(jpegs[0][4:6], "big")
    odd = jpegs[0][:first_segment_ends] + b"\0" + jpegs[0][first_segment_ends:]
    decode(odd, 1)  # decoders forgive it
    assert [source.picture for source in feed(odd, monkeypatch)] == [odd]


def test_what_begins_like_a_jpeg_and_is_none_is_passed_on_to_be_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [s.picture for s in feed(b"\xff\xd8 is no JPEG", monkeypatch)] == [
        b"\xff\xd8 is no JPEG"
    ]


def test_with_a_pace_the_pictures_in_between_are_left_out(
    jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = feed(b"".join(jpegs), monkeypatch, every_s=1000)
    assert [source.picture for source in pictures] == jpegs[:1]


def test_empty_standard_input_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError) as caught:
        list(feed(b"", monkeypatch))
    assert str(caught.value) == "Standard input is empty."
    assert caught.value.hint == "e.g. cat photo.jpg | edgetl run BUNDLE -"


def test_a_picture_that_does_not_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standard_input, "MAX_PICTURE_BYTES", 2 * 1024**2)
    with pytest.raises(DataError, match="on standard input is larger than 2 MiB"):
        list(feed(b"\x89PNG" + b"\0" * (2 * 1024**2), monkeypatch))
