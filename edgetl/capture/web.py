"""Pictures over http: a snapshot, fetched once or again and again, or a motion JPEG stream."""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from edgetl.capture.address import Address, read_address
from edgetl.capture.feeds import MAX_PICTURE_BYTES, CaptureError, LiveSource, Pace
from edgetl.capture.mjpeg import CHUNK_BYTES, JpegSplitter, is_multipart
from edgetl.core.errors import first_line
from edgetl.runtime.preprocess import Picture
from edgetl.runtime.sources import Source

# How long to wait for a connection, or for more of a response.
_TIMEOUT_S = 10.0
# How long a whole picture may take.
_PICTURE_S = 60.0
# Enough to see a multipart response's first line.
_HEAD_BYTES = 8
_HANDLERS = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPErrorProcessor,
    urllib.request.UnknownHandler,  # refuses other schemes, after a redirect, too
)
_STREAMS = frozenset(
    {"multipart/x-mixed-replace", "video/x-motion-jpeg", "video/x-mjpeg", "video/mjpeg"}
)


def open_url(url: str, pace: Pace) -> list[Source | LiveSource]:
    """Fetch an http or https URL, and find out by its content type and first bytes what it is.

    Returns a stream, or a picture; with `pace.every_s`, a picture that is fetched so often.
    Raises CaptureError if it is no URL, cannot be fetched or is a video.
    """
    address = read_address(url)
    name = address.plain
    with _errors_of(name):
        response = _request(address)
        kind = response.headers.get_content_type()
        if kind in _STREAMS or is_multipart(response.peek(_HEAD_BYTES)):
            return [WebStream(address, response)]
        if kind.startswith("video/"):
            response.close()
            raise CaptureError(
                f"'{name}' is a video ({kind}).",
                hint="download it first; of a camera, use its snapshot, MJPEG or rtsp:// address.",
            )
        picture = _whole(response, name)
    return [Snapshots(address, pace.every_s, picture)] if pace.every_s else [Source(name, picture)]


class WebStream(LiveSource):
    """JPEGs that a server sends one after another, as network cameras do.

    Args:
        address: http or https.
        response: an answer that has not been read yet, for the first time it is opened.
    """

    def __init__(self, address: Address, response: http.client.HTTPResponse | None = None) -> None:
        self.name = address.plain
        self._address, self._response = address, response

    def frames(self) -> Generator[Picture, None, None]:
        """Iterate over the JPEGs, as bytes. It is lost if no picture is whole in time."""
        splitter = JpegSplitter()
        with _errors_of(self.name):
            response, self._response = self._response or _request(self._address), None
            with response:
                begun = time.monotonic()
                while chunk := response.read1(CHUNK_BYTES):
                    for picture in splitter.feed(chunk):
                        yield picture
                        begun = time.monotonic()
                    if time.monotonic() - begun > _PICTURE_S:
                        raise CaptureError(
                            f"'{self.name}' sent no whole picture for {_PICTURE_S:.0f} s."
                        )


class Snapshots(LiveSource):
    """A picture that is fetched anew for every frame.

    Args:
        address: http or https.
        period_s: the time from one fetch to the next, in seconds.
        first: the first picture, already fetched.
    """

    def __init__(self, address: Address, period_s: float, first: bytes | None = None) -> None:
        self.name = address.plain
        self.period_s = period_s
        self._address, self._first = address, first

    def frames(self) -> Generator[Picture, None, None]:
        """Fetch the picture whenever the next frame is requested, as bytes."""
        if self._first:
            first, self._first = self._first, None
            yield first
        while True:
            with _errors_of(self.name):
                picture = _whole(_request(self._address), self.name)
            yield picture


def _request(address: Address) -> http.client.HTTPResponse:
    """Open an address through the user's proxy settings; also redirected, only http and https."""
    opener = urllib.request.OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    if address.user is not None:
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, address.plain, address.user, address.password)
        opener.add_handler(urllib.request.HTTPDigestAuthHandler(passwords))
        opener.add_handler(urllib.request.HTTPBasicAuthHandler(passwords))
    response = opener.open(address.plain, timeout=_TIMEOUT_S)
    assert isinstance(response, http.client.HTTPResponse)
    return response


def _whole(response: http.client.HTTPResponse, name: str) -> bytes:
    content = bytearray()
    deadline = time.monotonic() + _PICTURE_S
    with response:
        while chunk := response.read1(CHUNK_BYTES):
            content += chunk
            if len(content) > MAX_PICTURE_BYTES:
                raise CaptureError(f"'{name}' is larger than {MAX_PICTURE_BYTES >> 20} MiB.")
            if time.monotonic() > deadline:
                raise CaptureError(f"'{name}' took longer than {_PICTURE_S:.0f} s.")
    return bytes(content)


@contextmanager
def _errors_of(name: str) -> Iterator[None]:
    """Turn what a failed request raises into a CaptureError that names the URL."""
    try:
        yield
    except (http.client.HTTPException, OSError, ValueError) as error:
        denied = isinstance(error, urllib.error.HTTPError) and error.code == 401
        raise CaptureError(
            f"'{name}' cannot be fetched: {_reason(error)}.",
            hint="put them into the address: http://USER:PASSWORD@..." if denied else "",
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        error = error.reason if isinstance(error.reason, Exception) else error
    return (getattr(error, "strerror", None) or first_line(error)).rstrip(".")
