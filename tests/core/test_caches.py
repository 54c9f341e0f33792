"""What is in edgetl's cache, and deleting it while other processes use it."""

import fcntl
import os
import time
from pathlib import Path

import pytest

from edgetl.core.caches import PARTS, cached_items, choose, delete, foreign_names
from edgetl.core.errors import EdgetlError

DAY_S = 24 * 3600


def keep(path: Path, size: int = 10, days_ago: float = 0.0) -> Path:
    """A file of a part of the cache, last used some days ago, as are the folders it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    used = time.time() - days_ago * DAY_S
    for one in (path, *path.parents):
        if one.name in PARTS:
            break
        os.utime(one, (used, used))
    return path


def names(items) -> list[str]:
    return [f"{item.part}/{item.path.name}" for item in items]


@pytest.fixture
def filled(cache: Path) -> Path:
    """A file used 40 days ago, a folder used 10 days ago, and a file used now."""
    keep(cache / "weights" / "old.pth", 100, days_ago=40)
    keep(cache / "exports" / "abc" / "deeper" / "scores.json", 30, days_ago=20)
    keep(cache / "exports" / "abc" / "plan.npz", 20, days_ago=10)
    keep(cache / "tuned" / "x.json", 5)
    return cache


def test_items_are_files_and_whole_folders_least_recently_used_first(filled: Path) -> None:
    items = cached_items()
    assert names(items) == ["weights/old.pth", "exports/abc", "tuned/x.json"]
    assert [item.bytes for item in items] == [100, 50, 5]
    assert (time.time() - items[1].last_used) / DAY_S == pytest.approx(10, abs=0.01)
    assert names(cached_items(["tuned"])) == ["tuned/x.json"]


def test_a_cache_that_is_not_there_is_empty(cache: Path) -> None:
    assert cached_items() == []
    assert foreign_names() == []


def test_reading_counts_as_use(filled: Path) -> None:
    path = filled / "weights" / "old.pth"
    os.utime(path, (time.time(), path.stat().st_mtime))
    assert names(cached_items())[0] == "exports/abc"


def test_other_names_in_the_folder_are_never_items(filled: Path) -> None:
    (filled / "notes.txt").write_text("mine")
    (filled / "suite").mkdir()
    (filled / "suite" / "photo.jpg").write_bytes(b"mine, too")
    assert foreign_names() == ["notes.txt", "suite"]
    assert {item.part for item in cached_items()} == {"weights", "exports", "tuned"}


def test_what_another_process_may_not_have_finished_is_left_for_a_day(cache: Path) -> None:
    keep(cache / "wheels" / ".half.whl.x1")
    keep(cache / "wheels" / "tmpabc" / "half.whl")
    keep(cache / "datasets" / "raw" / "half.tar")
    assert cached_items() == []
    keep(cache / "wheels" / ".half.whl.x1", days_ago=2)
    assert names(cached_items()) == ["wheels/.half.whl.x1"]


@pytest.mark.parametrize(
    ("limits", "chosen"),
    [
        ({}, ["weights/old.pth", "exports/abc", "tuned/x.json"]),
        ({"older_than_days": 30}, ["weights/old.pth"]),
        ({"older_than_days": 50}, []),
        ({"max_bytes": 60}, ["weights/old.pth"]),
        ({"max_bytes": 54}, ["weights/old.pth", "exports/abc"]),
        ({"max_bytes": 155}, []),
        ({"older_than_days": 5, "max_bytes": 60}, ["weights/old.pth", "exports/abc"]),
        ({"older_than_days": 100, "max_bytes": 60}, ["weights/old.pth"]),
    ],
)  # fmt: skip
def test_what_is_chosen_by_age_and_by_size(filled: Path, limits, chosen) -> None:
    assert names(choose(cached_items(), **limits)) == chosen


def test_files_and_folders_are_deleted(filled: Path) -> None:
    outcomes = list(delete(cached_items(["weights", "exports"])))
    assert [(o.item.path.name, o.outcome) for o in outcomes] == [
        ("old.pth", "deleted"), ("abc", "deleted"),
    ]  # fmt: skip
    assert names(cached_items()) == ["tuned/x.json"]
    assert list((filled / "exports").iterdir()) == []


@pytest.mark.parametrize("lock", ["pixels/key/lock", "pixels/.lock"])
def test_what_a_process_holds_locked_is_left(cache: Path, lock: str) -> None:
    rows = keep(cache / "pixels" / "key" / "rows")
    (cache / lock).touch()
    with (cache / lock).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        (one,) = delete(cached_items())
        assert one.outcome == "in use"
        assert rows.exists()
    (one,) = delete(cached_items())
    assert one.outcome == "deleted"
    assert not rows.exists()
    assert (cache / lock).exists()  # another process may be waiting for it


def test_a_link_is_deleted_and_what_it_leads_to_stays(cache: Path, tmp_path: Path) -> None:
    outside = keep(tmp_path / "mine" / "model.pth", 1000)
    (cache / "weights").mkdir(parents=True)
    (cache / "weights" / "linked").symlink_to(outside.parent, target_is_directory=True)
    keep(cache / "exports" / "abc" / "plan.npz")
    (cache / "exports" / "abc" / "linked").symlink_to(outside)
    assert sum(item.bytes for item in cached_items()) < 1000
    assert {o.outcome for o in delete(cached_items())} == {"deleted"}
    assert outside.stat().st_size == 1000
    assert cached_items() == []


def test_a_part_that_is_a_link_is_not_edgetls_to_delete(cache: Path, tmp_path: Path) -> None:
    keep(tmp_path / "mine" / "model.pth")
    cache.mkdir()
    (cache / "weights").symlink_to(tmp_path / "mine", target_is_directory=True)
    assert cached_items() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_what_cannot_be_read_or_deleted_is_an_error(filled: Path) -> None:
    items = cached_items(["weights"])
    (filled / "weights").chmod(0o500)
    with pytest.raises(EdgetlError, match=r"'.*old\.pth' cannot be deleted: Permission denied"):
        list(delete(items))
    (filled / "weights").chmod(0o000)
    with pytest.raises(EdgetlError, match=r"'.*weights' cannot be read: Permission denied"):
        cached_items()
    (filled / "weights").chmod(0o700)
