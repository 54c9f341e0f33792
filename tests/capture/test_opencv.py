"""Videos for real; of cameras only what can be checked where there is none."""

import sys
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.capture.feeds import CaptureError, Pace
from edgetl.capture.opencv import Video, open_camera, open_rtsp, open_video
from edgetl.core.errors import DataError

cv2 = pytest.importorskip("cv2")
FPS, FRAMES = 10, 30
# Colours as red, green and blue, and the frame from which they are shown.
COLOURS = {0: (250, 10, 10), 10: (10, 250, 10), 20: (10, 10, 250)}


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds: red, green, blue."""
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.avi", "MJPG")


def write_clip(path: Path, code: str) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), FPS, (64, 48))
    assert writer.isOpened()
    for number in range(FRAMES):
        writer.write(np.full((48, 64, 3), colour(number)[::-1], np.uint8))
    writer.release()
    return path


def colour(number: int) -> tuple[int, int, int]:
    return COLOURS[number // 10 * 10]


def middle(picture: object) -> tuple[int, int, int]:
    assert isinstance(picture, Image.Image)
    assert picture.mode == "RGB"
    pixel = picture.getpixel((32, 24))
    assert isinstance(pixel, tuple)
    return pixel


@pytest.mark.parametrize(("suffix", "code"), [("avi", "MJPG"), ("mp4", "mp4v")])
def test_every_frame_of_a_video_comes_in_order_with_its_time_and_colours(
    tmp_path: Path, suffix: str, code: str
) -> None:
    clip = write_clip(tmp_path / f"a clip.{suffix}", code)
    frames = list(Video(str(clip), Pace()))
    assert [frame.name for frame in frames] == [f"{clip}#t={i / FPS:.2f}" for i in range(FRAMES)]
    for number, frame in enumerate(frames):
        assert np.abs(np.subtract(middle(frame.picture), colour(number))).max() < 12


def test_with_every_there_is_one_frame_for_each_so_many_seconds_of_the_video(clip: Path) -> None:
    frames = list(Video(str(clip), Pace(every_s=0.7)))
    assert [frame.name.partition("#t=")[2] for frame in frames] == [
        "0.00", "0.70", "1.40", "2.10", "2.80",
    ]  # fmt: skip
    coarse = Video(str(clip), Pace(every_s=100))
    assert [frame.name for frame in coarse] == [f"{clip}#t=0.00"]
    assert len(list(Video(str(clip), Pace(every_s=0.01)))) == FRAMES


def test_frames_that_wait_for_each_other_are_not_read_ahead(clip: Path) -> None:
    assert Video(str(clip), Pace(every_s=1)).ahead
    assert not Video(str(clip), Pace(max_fps=2)).ahead


def test_a_video_may_be_left_early(clip: Path) -> None:
    with closing(iter(Video(str(clip), Pace()))) as frames:
        assert len(list(islice(frames, 3))) == 3


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(DataError) as caught:
        list(Video(str(tmp_path / "bad.mp4"), Pace()))
    assert str(caught.value) == f"'{tmp_path / 'bad.mp4'}' cannot be read as a video."


def test_a_video_without_frames_is_named(tmp_path: Path) -> None:
    clip = tmp_path / "empty.avi"
    cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (64, 48)).release()
    with pytest.raises(DataError, match=r"empty\.avi'"):
        list(Video(str(clip), Pace()))


@pytest.mark.parametrize(
    ("opener", "name"),
    [(open_video, "clip.avi"), (open_camera, "camera:0"), (open_rtsp, "rtsp://camera/live")],
)
def test_where_opencv_is_missing_the_error_says_how_to_install_it(
    opener: Callable, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(CaptureError) as caught:
        opener(name, Pace())
    assert str(caught.value).startswith("Videos and cameras need OpenCV, which cannot be imported")
    assert caught.value.hint == "pip install 'edgetl[camera]'"


@pytest.mark.skipif(sys.platform != "linux", reason="device files of Linux")
def test_a_camera_that_is_not_there_is_an_error() -> None:
    (camera,) = open_camera("camera:999", Pace())
    with pytest.raises(CaptureError) as caught:
        next(camera.frames())
    assert str(caught.value) == "'camera:999' cannot be opened: there is no /dev/video999."


@pytest.mark.skipif(sys.platform != "linux", reason="device files of Linux")
def test_a_device_that_is_no_camera_is_an_error() -> None:
    (camera,) = open_camera("/dev/null", Pace())
    with pytest.raises(CaptureError, match=r"^'/dev/null' cannot be opened\.$"):
        next(camera.frames())


@pytest.mark.parametrize("name", ["camera:", "camera:x", "camera:-1", "camera:0/", "camera:1234"])
def test_a_cameras_number_is_a_number(name: str) -> None:
    with pytest.raises(CaptureError, match="is not a camera's number"):
        open_camera(name, Pace())


def test_an_rtsp_stream_that_cannot_be_reached_is_named_without_its_password() -> None:
    (source,) = open_rtsp("rtsp://admin:p@ss@127.0.0.1:1/live?x=1", Pace())
    assert source.name == "rtsp://127.0.0.1:1/live?x=1"
    with pytest.raises(CaptureError) as caught:
        next(source.frames())
    assert str(caught.value) == "'rtsp://127.0.0.1:1/live?x=1' cannot be opened."
