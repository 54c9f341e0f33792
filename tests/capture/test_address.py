import re

import pytest

from edgetl.capture.address import Address, read_address
from edgetl.capture.feeds import CaptureError, Pace
from edgetl.capture.open import open_feeds


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://cam/now.jpg", Address("http://cam/now.jpg", None, "")),
        ("http://a:b@cam:81/now.jpg?x=1", Address("http://cam:81/now.jpg?x=1", "a", "b")),
        ("https://a@[::1]/x", Address("https://[::1]/x", "a", "")),
        ("http://a:b@c@cam/x", Address("http://cam/x", "a", "b@c")),
        ("rtsp://a:se%23cr%2Fet%40@cam/x", Address("rtsp://cam/x", "a", "se#cr/et@")),
    ],
)
def test_a_name_has_no_password(url: str, address: Address) -> None:
    assert read_address(url) == address


@pytest.mark.parametrize("scheme", ["http", "https", "rtsp"])
@pytest.mark.parametrize(
    "rest",
    ["a:se#cret@cam/x", "a:se/cret@cam", "a:se?cret@cam/x", "a:[secret]@cam/x", "[::secret/x.jpg"],
)
def test_an_address_that_cannot_be_read_is_refused_and_not_repeated(scheme: str, rest: str) -> None:
    if scheme == "rtsp":
        pytest.importorskip("cv2")
    with pytest.raises(CaptureError) as caught:
        open_feeds([f"{scheme}://{rest}"], Pace(), print)
    said = f"{caught.value} {caught.value.hint}"
    assert said.startswith("The address of a SOURCE cannot be read. write special characters of a ")
    assert not re.search("cret|cam/", said)


def test_the_password_of_an_address_that_is_not_supported_is_not_repeated() -> None:
    with pytest.raises(Exception, match=r"^rtmp:// is not supported as a SOURCE\.$"):
        open_feeds(["rtmp://a:secret@cam/x"], Pace(), print)
