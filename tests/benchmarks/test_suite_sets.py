"""Which sets the suite has, and which pictures are in their parts."""

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("torchvision")

import suite_sets
from suite_sets import PictureSet, find_sets, lay_out, uneven

from edgetl.core.progress import Silent
from edgetl.fetch.registry import FetchError
from tests.making import KINDS, Remarks, inside, write_class_folders


def counts(root: Path) -> dict[str, int]:
    """Pictures of each part and class, e.g. "train/slope"."""
    return dict(Counter(p.parent.relative_to(root).as_posix() for p in root.glob("*/*/*")))


def targets(root: Path) -> set[str]:
    return {str(path.readlink()) for path in root.glob("test/*/*")}


def test_the_seed_decides_the_parts_and_nothing_else(pictures: Path, tmp_path: Path) -> None:
    one = PictureSet("made", pictures)
    first, again = (lay_out(one, 0, None, None, tmp_path / name) for name in ("a", "b"))
    assert counts(first.root) == {
        **{f"train/{kind}": 16 for kind in KINDS}, **{f"test/{kind}": 4 for kind in KINDS}
    }  # fmt: skip
    assert (first.train, first.test, first.digest) == (48, 12, again.digest)
    assert targets(first.root) == targets(again.root)
    other = lay_out(one, 1, None, None, tmp_path / "a")
    assert targets(other.root) != targets(first.root)
    assert other.digest != first.digest


def test_limits_are_for_each_class(pictures: Path, tmp_path: Path) -> None:
    laid = lay_out(PictureSet("made", pictures), 0, 5, 2, tmp_path)
    assert set(counts(laid.root).values()) == {5, 2}
    assert (laid.train, laid.test) == (15, 6)


def test_another_picture_under_the_same_name_makes_other_parts(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "data", 5)
    one = PictureSet("made", data)
    before = lay_out(one, 0, None, None, tmp_path)
    Image.new("RGB", (9, 9)).save(data / "slope" / "00.png")
    assert lay_out(one, 0, None, None, tmp_path).digest != before.digest


def test_classes_shrink_evenly_to_a_twentieth() -> None:
    assert uneven([400, 400, 400]) == [400, 89, 20]
    assert uneven([30, 400, 400]) == [20, 400, 89]  # the smallest class is the one that gets least
    assert uneven([2, 400]) == [2, 400]  # and keeps what it has


def test_stand_ins_are_made_of_trashnet(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_class_folders(data / "trashnet", 15, KINDS[:2])
    names = ["trashnet-drawn", "trashnet-small", "trashnet-few", "trashnet-uneven"]
    drawn, small, few, thinned = find_sets(data, tmp_path / "work", names, False, Silent())
    assert inside(drawn.folder) == sorted(KINDS[:2])
    with Image.open(drawn.folder / "checks" / "000000.png") as picture:
        assert (picture.mode, picture.size) == ("L", (56, 48))
    with Image.open(small.folder / "checks" / "000000.png") as picture:
        assert picture.size == (75, 64)
    few_laid = lay_out(few, 0, None, None, tmp_path / "work")
    assert set(counts(few_laid.root).values()) == {10, 3}
    uneven_laid = lay_out(thinned, 0, None, None, tmp_path / "work")
    assert sorted(counts(uneven_laid.root).values()) == [1, 3, 3, 12]


def test_solar_cells_that_cannot_be_had_are_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise FetchError("no registry")

    monkeypatch.setattr(suite_sets, "take_pictures", refuse)
    write_class_folders(tmp_path / "data" / "trashnet", 2)
    remarks = Remarks()
    found = find_sets(tmp_path / "data", tmp_path / "work", [], False, remarks)
    assert [one.name for one in found] == ["trashnet"]  # stand-ins only where they are wanted
    assert remarks.said == ["solar-cells are left out: no registry"]


def test_a_name_that_is_no_sets_is_refused(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "leaves", 2)
    with pytest.raises(SystemExit, match="leaves, solar-cells"):
        find_sets(tmp_path, tmp_path, ["leafs"], False, Silent())
