import importlib
import re
from pathlib import Path

import pytest

from edgetl.capture import open as module
from edgetl.capture.feeds import CaptureError, Feed, Pace, Pictures
from edgetl.capture.latest import LatestFrames
from edgetl.capture.open import open_feeds
from edgetl.capture.standard_input import StandardInput
from edgetl.core.errors import DataError
from tests.capture.http_camera import HttpCamera, picture, stream
from tests.making import draw


def feeds(*names: object) -> list[Feed]:
    return open_feeds([str(name) for name in names], Pace(), print)


def kinds(*names: object) -> list[str]:
    return [type(feed).__name__ for feed in feeds(*names)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg"):
        draw("checks", 1).save(tmp_path / name)
    (tmp_path / "clip.MP4").write_bytes(b"")
    return tmp_path


def test_files_that_follow_each_other_are_one_feed(folder: Path) -> None:
    (feed,) = feeds(folder / "b.jpg", folder, folder / "*.jpg")
    assert isinstance(feed, Pictures)
    assert [Path(source.name).name for source in feed] == ["b.jpg", *["a.jpg", "b.jpg"] * 2]
    assert feed.count == 5


def test_the_order_of_pictures_videos_and_standard_input_stays(folder: Path) -> None:
    pytest.importorskip("cv2")
    names = (folder / "a.jpg", folder / "clip.MP4", "-", folder / "b.jpg")
    assert kinds(*names) == ["Pictures", "Video", "StandardInput", "Pictures"]
    assert kinds(folder / "*.*") == ["Pictures", "Video"]


def test_live_sources_come_last_as_one_feed(folder: Path) -> None:
    pytest.importorskip("cv2")
    assert kinds("camera:0", folder / "a.jpg", "/dev/null", "rtsp://camera/live") == [
        "Pictures", "LatestFrames",
    ]  # fmt: skip


def test_a_url_is_what_its_server_sends(camera: HttpCamera, jpegs: list[bytes]) -> None:
    camera.pages |= {"/now.jpg": picture(jpegs[0]), "/live": stream(jpegs)}
    once, live = feeds(camera.url("/now.jpg"), camera.url("/live"))
    assert isinstance(once, Pictures)
    assert isinstance(live, LatestFrames)
    (polled,) = open_feeds([camera.url("/now.jpg")], Pace(every_s=1), print)
    assert isinstance(polled, LatestFrames)


def test_only_what_goes_on_for_ever_is_endless(folder: Path) -> None:
    pytest.importorskip("cv2")
    endless = [feed.endless for feed in feeds(folder, folder / "clip.MP4", "-", "camera:0")]
    assert endless == [False, False, False, True]


def test_a_file_may_be_called_like_a_camera(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    draw("checks", 1).save(folder / "camera:0.png")
    (feed,) = feeds("./camera:0.png")
    assert isinstance(feed, Pictures)
    draw("checks", 1).save(folder / "at 10:30.png")
    assert kinds("at 10:30.png") == ["Pictures"]


def test_another_scheme_says_which_are_known() -> None:
    with pytest.raises(DataError) as caught:
        feeds("ftp://camera/now.jpg")
    assert str(caught.value) == "ftp:// is not supported as a SOURCE."
    assert caught.value.hint == "what is: http://, https://, rtsp://, rtsps://"


def test_what_is_missing_is_an_error_before_the_first_picture(folder: Path) -> None:
    with pytest.raises(DataError, match=re.escape(f"'{folder / 'none.jpg'}' does not exist.")):
        feeds(folder / "a.jpg", folder / "none.jpg")
    with pytest.raises(CaptureError, match="Connection refused"):
        feeds(folder / "a.jpg", "http://127.0.0.1:1/now.jpg")


@pytest.mark.parametrize("place", sorted(set(module._OPENERS.values())))
def test_every_opener_of_the_table_is_there(place: str) -> None:
    file, _, function = place.partition(":")
    assert callable(getattr(importlib.import_module(f"edgetl.capture.{file}"), function))


def test_standard_input_keeps_its_name() -> None:
    (feed,) = feeds("-")
    assert isinstance(feed, StandardInput)
