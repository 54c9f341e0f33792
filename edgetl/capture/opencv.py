"""Videos, cameras and RTSP streams, through OpenCV (the extra `camera`)."""

import os
import re
import sys
import time
from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from PIL import Image

from edgetl.capture.address import read_address
from edgetl.capture.feeds import CaptureError, Feed, LiveSource, Pace, Rhythm
from edgetl.core.errors import DataError
from edgetl.runtime.preprocess import Picture
from edgetl.runtime.sources import Source

if TYPE_CHECKING:
    import cv2

# How long to wait for a connection, or for the next frame.
_TIMEOUT_MS = 10_000
# Frame times are rounded to milliseconds or less; one that is this early is on time.
_EARLY_MS = 1.0


def open_video(name: str, pace: Pace) -> list[Feed]:
    """The frames of a video file. Raises CaptureError if OpenCV is not installed."""
    return [Video(name, pace)]


def open_camera(name: str, _: Pace) -> list[LiveSource]:
    """A camera by its number ("camera:0") or its device file ("/dev/video0").

    Raises CaptureError if OpenCV is not installed or the number is none.
    """
    device: str | int = name
    if name.startswith("camera:"):
        if not re.fullmatch(r"camera:[0-9]{1,3}", name):
            raise CaptureError(
                f"'{name}' is not a camera's number.", hint="e.g. camera:0, or /dev/video0"
            )
        device = int(name.removeprefix("camera:"))
    return [Camera(name, device)]


def open_rtsp(url: str, _: Pace) -> list[LiveSource]:
    """An RTSP stream. Raises CaptureError if it is no URL, or OpenCV is not installed."""
    return [RtspStream(url)]


class Video(Feed):
    """The frames of a video file, none left out, or one each `pace.every_s` of the video's time.

    Each is named after the file and its time in seconds, as in "clip.avi#t=12.40" (W3C Media
    Fragments). `pace.max_fps` makes the frames wait for each other.
    """

    def __init__(self, name: str, pace: Pace) -> None:
        self._name, self._pace = name, pace
        self.ahead = not pace.max_fps  # else a frame's answer would wait for later frames
        self._cv2 = _load_opencv()

    def __iter__(self) -> Generator[Source, None, None]:
        """Iterate over the frames. Raises DataError if the file is not a video."""
        # A full path, so that FFmpeg does not take a colon in the name for a protocol's.
        capture = self._cv2.VideoCapture(str(Path(self._name).resolve()))
        try:
            if not capture.isOpened():
                raise DataError(
                    f"'{self._name}' cannot be read as a video.",
                    hint="check that the file is whole; OpenCV reads what FFmpeg reads.",
                )
            yield from self._frames(capture)
        finally:
            capture.release()

    def _frames(self, capture: "cv2.VideoCapture") -> Generator[Source, None, None]:
        every_ms = 1e3 * (self._pace.every_s or 0.0)
        due_ms, number, rhythm = 0.0, 0, Rhythm(self._pace.max_period_s)
        while capture.grab():
            at_ms = _time_ms(self._cv2, capture, number)
            number += 1
            if at_ms + _EARLY_MS < due_ms:
                continue
            if every_ms:
                due_ms = ((at_ms + _EARLY_MS) // every_ms + 1) * every_ms
            read, frame = capture.retrieve()
            if read:
                time.sleep(rhythm.wait_s())
                rhythm.advance()
                yield Source(f"{self._name}#t={at_ms / 1e3:.2f}", _picture(self._cv2, frame))
        if not number:
            raise DataError(f"'{self._name}' has no frame that can be read.")


class Camera(LiveSource):
    """A camera of this machine; on Linux through V4L2.

    Args:
        name: the name to report.
        device: its number, or its device file.
    """

    def __init__(self, name: str, device: int | str) -> None:
        self.name, self._device = name, device
        self._cv2 = _load_opencv()

    def frames(self) -> Generator[Picture, None, None]:
        """Iterate over the frames, as RGB pictures."""
        linux = sys.platform == "linux"
        if linux:
            _check_device_file(self.name, self._device)
        capture = self._cv2.VideoCapture(
            self._device, self._cv2.CAP_V4L2 if linux else self._cv2.CAP_ANY
        )
        capture.set(self._cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not the fourth newest
        yield from _frames(
            self._cv2, capture, self.name, "another program may be using it; try camera:1."
        )


class RtspStream(LiveSource):
    """A stream of a network camera, over RTSP, by TCP.

    Args:
        url: rtsp or rtsps; may have a user name and a password.
    """

    def __init__(self, url: str) -> None:
        self.name, self._url = read_address(url).plain, url
        self._cv2 = _load_opencv()

    def frames(self) -> Generator[Picture, None, None]:
        """Iterate over the frames, as RGB pictures."""
        cv2 = self._cv2
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _TIMEOUT_MS,
                  cv2.CAP_PROP_READ_TIMEOUT_MSEC, _TIMEOUT_MS]  # fmt: skip
        capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, limits)
        yield from _frames(
            cv2, capture, self.name,
            "check the address, the user name and the password: rtsp://USER:PASSWORD@CAMERA/PATH",
        )  # fmt: skip


def _load_opencv() -> ModuleType:
    # OpenCV and FFmpeg write to standard error what edgetl reports anyway.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError as error:
        raise CaptureError(
            f"Videos and cameras need OpenCV, which cannot be imported here ({error}).",
            hint="pip install 'edgetl[camera]'",
        ) from error
    return cv2


def _frames(
    cv2: ModuleType, capture: "cv2.VideoCapture", name: str, hint: str
) -> Generator[Picture, None, None]:
    """The frames of a camera or stream that was opened, until it gives no more; releases it."""
    try:
        if not capture.isOpened():
            raise CaptureError(f"'{name}' cannot be opened.", hint=hint)
        while True:
            start = time.monotonic()
            read, frame = capture.read()
            # After its time limit FFmpeg first hands out the old frames that it still has.
            if not read or time.monotonic() - start >= _TIMEOUT_MS / 1e3:
                raise CaptureError(f"'{name}' gives no picture.", hint=hint)
            yield _picture(cv2, frame)
    finally:
        capture.release()


def _picture(cv2: ModuleType, frame: "cv2.typing.MatLike") -> Image.Image:
    """OpenCV's frame, uint8 BGR [height, width, 3], as an RGB picture."""
    return Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))


def _time_ms(cv2: ModuleType, capture: "cv2.VideoCapture", number: int) -> float:
    """The time of the grabbed frame in milliseconds; by its number if the file has no times."""
    at_ms = float(capture.get(cv2.CAP_PROP_POS_MSEC))
    if at_ms > 0 or not number:
        return max(0.0, at_ms)
    return 1e3 * number / (float(capture.get(cv2.CAP_PROP_FPS)) or 25.0)


def _check_device_file(name: str, device: int | str) -> None:
    path = Path(f"/dev/video{device}" if isinstance(device, int) else device)
    if not path.exists():
        here = ", ".join(sorted(map(str, Path("/dev").glob("video*")))) or "no camera"
        raise CaptureError(f"'{name}' cannot be opened: there is no {path}.", hint=f"here: {here}.")
    if not os.access(path, os.R_OK | os.W_OK):
        raise CaptureError(
            f"'{name}' cannot be opened: no permission for {path}.",
            hint="sudo usermod -aG video $USER, then log in again.",
        )
