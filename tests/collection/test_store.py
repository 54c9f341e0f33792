"""The folder of collected pictures: what is in it, and what goes first."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edgetl.collection import store as module
from edgetl.collection.locks import FolderInUseError
from edgetl.collection.records import CollectedPicture, Reason, Review, read_contents, read_record
from edgetl.collection.store import PictureStore
from edgetl.core.errors import DataError, EdgetlError, SchemaError
from edgetl.core.schema import to_json
from tests.collection.making import record

SIZE = 20_000
UNKNOWN: list[Reason] = ["unknown"] * 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def content(number: int) -> bytes:
    return bytes([number]) * SIZE


def fill(store: PictureStore, *reasons: Reason, first: int = 0) -> list[str]:
    """Add a picture for each reason, a minute after the other; returns the outcomes."""
    return [
        store.add(content(number), record(content(number), reason, number))
        for number, reason in enumerate(reasons, first)
    ]


def review(picture: CollectedPicture) -> None:
    reviewed = msgspec.structs.replace(picture.record, review=Review(label="cat", time="now"))
    picture.record_path.write_text(to_json(reviewed))


def held(folder: Path) -> list[tuple[str, int]]:
    """The reasons of the pictures in a folder, with the minute of each, in order."""
    pictures = read_contents(folder).pictures
    return [(each.record.reason, int(each.record.time[14:16])) for each in pictures]


def test_a_picture_and_its_record_are_written_side_by_side(folder: Path) -> None:
    store = PictureStore(folder, 10**6)
    assert fill(store, "unknown") == ["kept"]
    (picture,) = read_contents(folder).pictures
    assert picture.path.read_bytes() == content(0)
    assert picture.record == record(content(0), "unknown")
    assert picture.path.name.startswith("20260701T120000000Z-unknown-")
    files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    assert sorted(path.suffix for path in files) == [".jpg", ".json"]
    assert store.bytes == sum(path.stat().st_size for path in files)


def test_identical_pictures_are_kept_once_also_after_a_restart(folder: Path) -> None:
    store = PictureStore(folder, 10**6)
    assert fill(store, "unknown") == ["kept"]
    assert store.add(content(0), record(content(0), "random", 5)) == "known"
    store.close()
    assert fill(PictureStore(folder, 10**6), "unknown") == ["known"]


def test_random_pictures_go_first_then_uncertain_then_unknown_ones_the_oldest_first(
    folder: Path,
) -> None:
    store = PictureStore(folder, 5 * SIZE + 10_000)
    fill(store, "unknown", "random", "uncertain", "random", "uncertain")
    fill(store, "unknown", first=5)
    assert held(folder) == [
        ("unknown", 0), ("uncertain", 2), ("random", 3), ("uncertain", 4), ("unknown", 5),
    ]  # fmt: skip
    fill(store, "unknown", "unknown", first=6)
    assert held(folder) == [
        ("unknown", 0), ("uncertain", 4), ("unknown", 5), ("unknown", 6), ("unknown", 7),
    ]  # fmt: skip
    fill(store, "unknown", "unknown", first=8)
    assert held(folder) == [("unknown", minute) for minute in (5, 6, 7, 8, 9)]
    assert store.bytes <= 5 * SIZE + 10_000


def test_a_picture_does_not_drive_out_one_that_is_worth_more(folder: Path) -> None:
    store = PictureStore(folder, 2 * SIZE + 3000)
    fill(store, "unknown", "uncertain")
    assert fill(store, "random", first=2) == ["no room"]
    assert fill(store, "uncertain", first=3) == ["kept"]
    assert held(folder) == [("unknown", 0), ("uncertain", 3)]


def test_a_restart_counts_and_goes_on_with_what_is_there(folder: Path) -> None:
    store = PictureStore(folder, 3 * SIZE + 6000)
    fill(store, "random", "unknown", "random")
    size = store.bytes
    store.close()
    again = PictureStore(folder, 3 * SIZE + 6000)
    assert again.bytes == size
    fill(again, "unknown", first=3)
    assert held(folder) == [("unknown", 1), ("random", 2), ("unknown", 3)]


def test_what_a_person_has_reviewed_is_never_deleted(folder: Path) -> None:
    store = PictureStore(folder, 2 * SIZE + 4000)
    fill(store, "random", "random")
    for picture in read_contents(folder).pictures:
        review(picture)
    assert fill(store, "unknown", first=2) == ["no room"]
    assert held(folder) == [("random", 0), ("random", 1)]


def test_nothing_is_deleted_for_a_picture_that_has_no_room_even_so(folder: Path) -> None:
    store = PictureStore(folder, 6 * SIZE + 6000)
    fill(store, "random", "random", "random", "random")
    for picture in read_contents(folder).pictures[:2]:
        review(picture)
    large = bytes(5 * SIZE)
    assert store.add(large, record(large, "unknown", 9)) == "no room"
    assert held(folder) == [("random", minute) for minute in range(4)]
    assert store.add(large[: 4 * SIZE], record(large[: 4 * SIZE], "unknown", 9)) == "kept"
    assert held(folder) == [("random", 0), ("random", 1), ("unknown", 9)]


def test_a_picture_whose_record_cannot_be_read_may_be_reviewed(folder: Path) -> None:
    store = PictureStore(folder, 2 * SIZE + 4000)
    fill(store, "random", "random")
    newer, gone = read_contents(folder).pictures
    newer.record_path.write_text(newer.record_path.read_text().replace('on": 1', 'on": 2', 1))
    gone.path.unlink()
    assert fill(store, "unknown", "unknown", first=2) == ["kept", "kept"]
    assert newer.path.exists()
    assert not gone.record_path.exists()
    assert held(folder) == [("unknown", 3)]


def test_what_a_power_cut_left_behind_is_no_picture(folder: Path) -> None:
    store = PictureStore(folder, 10**6)
    fill(store, "unknown", "unknown")
    store.close()
    first, second = read_contents(folder).pictures
    half = folder / f".{first.path.name}.x1y2z3"
    half.write_bytes(b"half")
    half_record = folder / f".{first.record_path.name}.x1y2z3"
    half_record.write_bytes(b"{")
    second.record_path.unlink()  # the picture had been written, its record not yet
    mine = folder / ".mine.txt.bak"
    mine.write_text("not edgetl's")
    assert [each.path for each in read_contents(folder).pictures] == [first.path]
    again = PictureStore(folder, 10**6)
    assert (half.exists(), half_record.exists(), mine.exists()) == (False, False, True)
    assert again.bytes > second.path.stat().st_size + first.path.stat().st_size
    assert again.add(content(1), record(content(1), "random", 9)) == "kept"
    assert again.add(content(0), record(content(0), "random", 9)) == "known"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not well formed"),
        ('{"version": 1}', "missing required field"),
        (to_json(record(b"x")).replace('"version": 1', '"version": 2'), "by a newer edgetl"),
        (to_json(record(b"x")).replace('"reason"', '"why": 1, "reason"'), "unknown field `why`"),
        (to_json(record(b"x")).replace('"picture": "', '"picture": "../'), "expected `str`"),
    ],
    ids=["half", "empty", "newer", "unknown key", "path"],
)
def test_a_record_that_cannot_be_used_is_named_and_the_others_are_read(
    folder: Path, text: str, problem: str
) -> None:
    fill(PictureStore(folder, 10**6), "unknown", "unknown")
    first, second = read_contents(folder).pictures
    first.record_path.write_text(text)
    contents = read_contents(folder)
    assert [each.path for each in contents.pictures] == [second.path]
    (said,) = contents.problems
    assert first.record_path.name in said
    assert problem in said.replace("Expected", "expected")


def test_a_record_of_another_or_a_changed_picture_is_refused(folder: Path) -> None:
    fill(PictureStore(folder, 10**6), "unknown", "unknown")
    first, second = read_contents(folder).pictures
    first.record_path.write_text(second.record_path.read_text())
    with pytest.raises(SchemaError, match="is the record of another picture"):
        read_record(first.record_path)
    second.path.write_bytes(b"cut")
    with pytest.raises(DataError, match="its size differs"):
        read_record(second.record_path)
    second.path.unlink()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_record(second.record_path)


def test_two_processes_cannot_collect_into_one_folder(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from edgetl.collection.store import PictureStore\n"
        "store = PictureStore(Path(sys.argv[1]), 10**6); print('mine', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout and other.stdout.readline() == b"mine\n"
        with pytest.raises(FolderInUseError, match="Another edgetl collects") as caught:
            PictureStore(folder, 10**6)
        assert "give each its own folder" in caught.value.hint
        other.kill()
    PictureStore(folder, 10**6).close()  # a killed process holds no lock


def test_the_disk_is_never_filled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PictureStore(folder, 10**6)
    usage = shutil.disk_usage(folder)
    nearly_full = usage._replace(total=10**12, free=module.MIN_FREE_BYTES + SIZE)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: nearly_full)
    with pytest.raises(OSError, match="less than 500 MB are free on its disk"):
        fill(store, "unknown")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: nearly_full._replace(total=10**9))
    assert fill(store, "unknown") == ["kept"]  # of a small disk, a twentieth


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(command, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_whole_pictures_only(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PictureStore(small_disk / "kept", 10**6)
    with pytest.raises(OSError, match="less than 0 MB are free"):
        fill(store, *UNKNOWN)
    kept = len(read_contents(small_disk / "kept").pictures)
    assert 5 < kept < 12
    monkeypatch.setattr(module, "MIN_FREE_SHARE", -1.0)  # as if another program took the rest
    with pytest.raises(EdgetlError, match="No space left on device"):
        fill(store, *UNKNOWN, first=20)
    contents = read_contents(small_disk / "kept")
    assert contents.problems == ()
    assert len(contents.pictures) >= kept
    pictures = [p for p in (small_disk / "kept").iterdir() if p.suffix == ".jpg"]
    assert len(pictures) == len(contents.pictures)
    assert all(path.stat().st_size == SIZE for path in pictures)
