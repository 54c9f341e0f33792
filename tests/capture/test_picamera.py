"""The Pi's camera, with a stand-in for picamera2, which only runs on a Raspberry Pi.

The stand-in has the methods and arguments of picamera2's documentation that are used, and refuses
others. That they mean the same on a real camera is not tested here.
"""

import sys
import types
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from edgetl.capture.feeds import CaptureError, Pace
from edgetl.capture.picamera import open_picamera


class StandIn:
    """One Pi with two cameras; the second one fails to start."""

    used: list[str] = []

    def __init__(self, camera_num: int = 0) -> None:
        self.number = camera_num
        self.frames = 0

    @staticmethod
    def global_camera_info() -> list[dict[str, object]]:
        return [{"Model": "imx219", "Num": 0}, {"Model": "imx477", "Num": 1}]

    def create_video_configuration(
        self, main: dict[str, object], queue: bool = True
    ) -> dict[str, object]:
        return {"main": main, "queue": queue}

    def configure(self, camera_config: dict[str, object]) -> None:
        assert camera_config == {"main": {"size": (640, 480), "format": "BGR888"}, "queue": False}
        self.used.append("configure")

    def start(self) -> None:
        if self.number == 1:
            raise RuntimeError("Failed to start camera\nsome detail")
        self.used.append("start")

    def capture_array(self, name: str = "main", wait: float | None = None) -> np.ndarray:
        assert (name, wait) == ("main", 10.0)
        self.frames += 1
        if self.frames > 2:
            raise TimeoutError
        self.used.append("capture")
        return np.full((480, 640, 3), (250, 10, self.frames), np.uint8)

    def close(self) -> None:
        self.used.append("close")


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was called, in order."""
    module = types.ModuleType("picamera2")
    module.Picamera2 = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)
    monkeypatch.setattr(StandIn, "used", [])
    yield StandIn.used


def test_frames_are_captured_until_the_camera_gives_none(used: list[str]) -> None:
    (camera,) = open_picamera("picamera2", Pace())
    frames = camera.frames()
    for number in (1, 2):
        frame = next(frames)
        assert isinstance(frame, Image.Image)
        assert (frame.mode, frame.size) == ("RGB", (640, 480))
        assert frame.getpixel((0, 0)) == (250, 10, number)
    with pytest.raises(CaptureError, match=r"^'picamera2' gives no picture: TimeoutError\.$"):
        next(frames)
    assert used == ["configure", "start", "capture", "capture", "close"]


def test_closing_the_frames_releases_the_camera(used: list[str]) -> None:
    (camera,) = open_picamera("picamera2:0", Pace())
    with closing(camera.frames()) as frames:
        next(frames)
    assert used == ["configure", "start", "capture", "close"]


def test_a_camera_that_does_not_start_is_released_and_named(used: list[str]) -> None:
    (camera,) = open_picamera("picamera2:1", Pace())
    with pytest.raises(CaptureError) as caught:
        next(camera.frames())
    assert str(caught.value) == "'picamera2:1' cannot be opened: Failed to start camera."
    assert used == ["configure", "close"]


def test_a_camera_that_is_not_connected_is_an_error(used: list[str]) -> None:
    (camera,) = open_picamera("picamera2:2", Pace())
    with pytest.raises(CaptureError, match="there is no such camera"):
        next(camera.frames())
    assert used == []


@pytest.mark.parametrize("name", ["picamera2:", "picamera2:x", "picamera2:-1"])
def test_a_cameras_number_is_a_number(used: list[str], name: str) -> None:
    with pytest.raises(CaptureError, match="is not a camera's number"):
        open_picamera(name, Pace())


def test_where_picamera2_is_missing_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CaptureError) as caught:
        open_picamera("picamera2", Pace())
    assert "python3-picamera2" in caught.value.hint
    assert "--system-site-packages" in caught.value.hint
