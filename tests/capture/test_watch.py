import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgetl.capture import watch as module
from edgetl.capture.watch import WatchedFolder
from edgetl.core.errors import DataError
from tests.making import draw, encoded

JPEG = encoded(draw("checks", 1), "JPEG")
PNG = encoded(draw("slope", 2), "PNG")


class Watcher:
    """Watches a folder in a thread.

    Attributes:
        found: the pictures that were passed on, as paths in the folder.
        said: what was said.
    """

    def __init__(self, folder: Path, *, existing: bool = False, give_up_s: float = 60) -> None:
        self.found: list[str] = []
        self.said: list[str] = []
        self._folder, self._ended = folder, threading.Event()
        self._feed = WatchedFolder(
            folder, existing=existing, say=self.said.append, period_s=0.02, give_up_s=give_up_s
        )
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        for source in self._feed:
            if self._ended.is_set():
                return
            assert source.picture == Path(source.name)
            self.found.append(str(Path(source.name).relative_to(self._folder)))

    def end(self) -> None:
        """Let a last picture end the thread."""
        self._ended.set()
        self._folder.mkdir(exist_ok=True)
        (self._folder / "end.jpg").write_bytes(JPEG)
        self._thread.join()


Watch = Callable[..., Watcher]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def watch(inbox: Path) -> Iterator[Watch]:
    watchers: list[Watcher] = []

    def start(**options: object) -> Watcher:
        watchers.append(Watcher(inbox, **options))
        return watchers[-1]

    yield start
    for watcher in watchers:
        watcher.end()


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def settled(watcher: Watcher, folder: Path) -> list[str]:
    """What was found once a last picture was, too."""
    (folder / "last.jpg").write_bytes(JPEG)
    wait_for(lambda: "last.jpg" in watcher.found)
    return [name for name in watcher.found if name != "last.jpg"]


def test_pictures_that_arrive_are_found_also_in_folders_below(inbox: Path, watch: Watch) -> None:
    watcher = watch()
    (inbox / "a.jpg").write_bytes(JPEG)
    (inbox / "day" / "one").mkdir(parents=True)
    (inbox / "day" / "one" / "B.PNG").write_bytes(PNG)
    wait_for(lambda: len(watcher.found) == 2)
    assert sorted(watcher.found) == ["a.jpg", "day/one/B.PNG"]


def test_pictures_come_in_the_order_of_their_times(inbox: Path, watch: Watch) -> None:
    for name, time_s in (("c.jpg", 100), ("a.jpg", 300), ("b.jpg", 200)):
        (inbox / name).write_bytes(JPEG)
        os.utime(inbox / name, (time_s, time_s))
    watcher = watch(existing=True)
    wait_for(lambda: len(watcher.found) == 3)
    assert watcher.found == ["c.jpg", "b.jpg", "a.jpg"]


def test_what_is_there_at_the_start_is_left_out_until_it_changes(inbox: Path, watch: Watch) -> None:
    (inbox / "old.jpg").write_bytes(JPEG)
    (inbox / "latest.jpg").write_bytes(JPEG)
    watcher = watch()
    (inbox / "latest.jpg").write_bytes(PNG)
    assert settled(watcher, inbox) == ["latest.jpg"]


def test_hidden_and_temporary_files_are_left_out(inbox: Path, watch: Watch) -> None:
    watcher = watch()
    (inbox / ".thumbnails").mkdir()
    for name in (".hidden.jpg", ".thumbnails/a.jpg", "a.jpg.part", "b.jpg.tmp", "notes.txt"):
        (inbox / name).write_bytes(JPEG)
    assert settled(watcher, inbox) == []
    (inbox / "a.jpg.part").rename(inbox / "a.jpg")
    wait_for(lambda: "a.jpg" in watcher.found)


@pytest.mark.parametrize("content", [JPEG, PNG], ids=["jpeg", "png"])
def test_a_half_written_picture_is_waited_for(inbox: Path, watch: Watch, content: bytes) -> None:
    watcher = watch()
    with (inbox / "slow.jpg").open("wb") as file:
        file.write(content[: len(content) // 2])
        file.flush()
        # Longer than a file has to stay unchanged; the folder is listed all the time.
        assert settled(watcher, inbox) == []
        file.write(content[len(content) // 2 :])
    wait_for(lambda: "slow.jpg" in watcher.found)
    assert watcher.found.count("slow.jpg") == 1


@pytest.mark.parametrize("content", [JPEG[:-100], b"", b"no picture"])
def test_a_picture_that_stays_incomplete_is_passed_on_once_after_a_while(
    inbox: Path, watch: Watch, content: bytes
) -> None:
    watcher = watch(give_up_s=0.3)
    start = time.monotonic()
    (inbox / "broken.jpg").write_bytes(content)
    wait_for(lambda: watcher.found == ["broken.jpg"])
    assert time.monotonic() - start >= 0.3
    assert settled(watcher, inbox) == ["broken.jpg"]


def test_a_picture_that_is_written_again_is_found_again(inbox: Path, watch: Watch) -> None:
    watcher = watch()
    for times, content in enumerate((JPEG, PNG, JPEG), 1):
        (inbox / "latest.jpg").write_bytes(content)
        wait_for(lambda times=times: watcher.found == ["latest.jpg"] * times)


def test_a_folder_that_goes_away_is_waited_for(
    inbox: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgetl.capture.reopen._PAUSES_S", (0.05,) * 100)
    (inbox / "old.jpg").write_bytes(JPEG)
    watcher = watch()
    shutil.move(inbox, inbox.parent / "elsewhere")
    wait_for(lambda: len(watcher.said) == 1)
    shutil.move(inbox.parent / "elsewhere", inbox)
    wait_for(lambda: len(watcher.said) == 2)
    assert watcher.said == [
        f"'{inbox}' is lost: No such file or directory. Waiting for it.",
        f"'{inbox}' is back.",
    ]
    assert settled(watcher, inbox) == []


def test_pictures_of_a_disk_that_is_mounted_again_are_not_new(
    inbox: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings = 0
    listing = module._listing

    def counted(folder: Path) -> object:
        nonlocal listings
        listings += 1
        return listing(folder)

    (inbox / "old.jpg").write_bytes(JPEG)
    watcher = watch()
    aside = inbox.parent / "aside.jpg"
    (inbox / "old.jpg").rename(aside)
    monkeypatch.setattr(module, "_listing", counted)
    wait_for(lambda: listings > 3)  # of an empty folder
    aside.rename(inbox / "old.jpg")
    assert settled(watcher, inbox) == []


def test_what_cannot_be_looked_at_does_not_stop_it(inbox: Path, watch: Watch) -> None:
    (inbox / "loop.jpg").symlink_to("loop.jpg")
    watcher = watch()
    assert settled(watcher, inbox) == []
    assert watcher.said == []


def test_a_folder_below_that_cannot_be_listed_for_a_while_has_no_new_pictures(
    inbox: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir, refused, locked = os.scandir, [], inbox / "locked"
    locked.mkdir()
    (locked / "kept.jpg").write_bytes(JPEG)

    def refusing(path: str) -> object:
        if str(path) == str(locked) and len(refused) < 5:
            refused.append(path)
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    watcher = watch()
    monkeypatch.setattr(module.os, "scandir", refusing)
    wait_for(lambda: len(refused) == 5)
    assert settled(watcher, inbox) == []
    assert watcher.said == []


def test_a_folder_that_nobody_may_list_is_an_error(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(_: str) -> None:  # root may list every folder, so its mode does not matter
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(module.os, "scandir", refusing)
    with pytest.raises(DataError) as caught:
        WatchedFolder(inbox, existing=True, say=print)
    assert str(caught.value) == f"'{inbox}' cannot be listed: Permission denied."


def test_there_has_to_be_a_folder(inbox: Path) -> None:
    (inbox / "a.jpg").write_bytes(JPEG)
    for path in (inbox / "none", inbox / "a.jpg"):
        with pytest.raises(DataError) as caught:
            WatchedFolder(path, existing=False, say=print)
        assert str(caught.value) == f"'{path}' is not a folder."
