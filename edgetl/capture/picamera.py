"""The Raspberry Pi's camera, through picamera2, which Raspberry Pi OS brings."""

import importlib
import os
import re
from collections.abc import Generator
from typing import Any

from PIL import Image

from edgetl.capture.feeds import CaptureError, LiveSource, Pace
from edgetl.core.errors import first_line
from edgetl.runtime.preprocess import Picture

# Much larger than networks' inputs, and small enough to convert in time on a Zero 2 W.
_SIZE_PX = (640, 480)
_TIMEOUT_S = 10.0


def open_picamera(name: str, _: Pace) -> list[LiveSource]:
    """A camera by its number, "picamera2:1", or the first one, "picamera2".

    Raises CaptureError if picamera2 is not installed or the number is none.
    """
    match = re.fullmatch(r"picamera2(?::([0-9]{1,2}))?", name)
    if not match:
        raise CaptureError(f"'{name}' is not a camera's number.", hint="e.g. picamera2:0")
    return [PiCamera(name, int(match[1] or 0))]


class PiCamera(LiveSource):
    """A camera that is connected to a Raspberry Pi by its ribbon cable.

    Args:
        name: the name to report.
        number: its number, as `rpicam-hello --list-cameras` lists them.
    """

    def __init__(self, name: str, number: int) -> None:
        self.name, self._number = name, number
        self._library = _load_picamera2()

    def frames(self) -> Generator[Picture, None, None]:
        """Iterate over the frames, as RGB pictures of 640 x 480 pixels."""
        camera = self._open()
        try:
            while True:
                try:
                    frame = camera.capture_array("main", wait=_TIMEOUT_S)
                except Exception as error:  # libcamera's errors have no common class
                    raise CaptureError(
                        f"'{self.name}' gives no picture: {first_line(error)}."
                    ) from error
                yield Image.fromarray(frame)
        finally:
            camera.close()  # stops it, too

    def _open(self) -> Any:
        if self._number >= len(self._library.global_camera_info()):
            raise CaptureError(
                f"'{self.name}' cannot be opened: there is no such camera.",
                hint="`rpicam-hello --list-cameras` lists the cameras.",
            )
        camera = None
        try:
            camera = self._library(self._number)
            # libcamera names formats the other way round: BGR888 is red, green, blue in memory.
            # Without a queue, each frame is one that is taken after it was requested.
            camera.configure(
                camera.create_video_configuration(
                    main={"size": _SIZE_PX, "format": "BGR888"}, queue=False
                )
            )
            camera.start()
        except Exception as error:  # libcamera's errors have no common class
            if camera is not None:
                camera.close()
            raise CaptureError(
                f"'{self.name}' cannot be opened: {first_line(error)}.",
                hint="another program may be using it; `rpicam-hello` shows whether it works.",
            ) from error
        return camera


def _load_picamera2() -> Any:
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:ERROR")
    try:
        return importlib.import_module("picamera2").Picamera2
    except ImportError as error:
        raise CaptureError(
            f"'picamera2' cannot be imported here ({error}).",
            hint="sudo apt install python3-picamera2, and make the virtual environment with "
            "python3 -m venv --system-site-packages.",
        ) from error
