from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.errors import DataError
from edgetl.core.progress import Silent
from edgetl.data.folders import read_class_folders
from edgetl.data.split import Parts, SplitFiles, describe
from edgetl.workstation.export.pictures import ExportPictures, calibration_pixels, choose_pictures
from tests.making import write_class_folders

SPEC = Preprocess(size_px=32, mean=(0.5,) * 3, std=(0.25,) * 3)


def split_of(pictures: Path, train: int, val: int, test: int) -> SplitFiles:
    labels, examples = read_class_folders(pictures)
    shuffled = examples[::3] + examples[1::3] + examples[2::3]
    parts = Parts(
        labels,
        shuffled[:train],
        shuffled[train : train + val],
        shuffled[train + val : train + val + test],
    )
    return describe(parts, pictures, [])


def paths(chosen: ExportPictures, part: str) -> set[Path]:
    examples = chosen.held_out.examples if part == "held_out" else getattr(chosen, part)
    return {example.path for example in examples}


def test_no_picture_decides_and_measures(pictures: Path) -> None:
    for counts in ((30, 10, 20), (30, 0, 20), (30, 20, 0)):
        chosen = choose_pictures(split_of(pictures, *counts), None)
        measured = paths(chosen, "held_out")
        assert len(measured) == 20
        for part in ("calibration", "tuning", "trial"):
            assert not measured & paths(chosen, part)


def test_ways_to_int8_are_tried_on_validation_pictures_where_others_are_measured_on(
    pictures: Path,
) -> None:
    chosen = choose_pictures(split_of(pictures, 30, 10, 20), None)
    assert len(chosen.trial) == 10
    assert not paths(chosen, "trial") & paths(chosen, "tuning")
    assert chosen.trial_part == "val"
    assert choose_pictures(split_of(pictures, 30, 10, 0), None).trial_part == "train"


def test_without_validation_pictures_a_third_of_few_training_pictures_is_tried_on(
    pictures: Path,
) -> None:
    chosen = choose_pictures(split_of(pictures, 40, 0, 20), None)
    assert (len(chosen.calibration), len(chosen.trial)) == (27, 13)
    assert not paths(chosen, "trial") & paths(chosen, "calibration")
    assert (chosen.held_out.part, chosen.trial_part) == ("test", "train")


def test_a_refit_is_measured_on_training_pictures_that_decide_nothing(pictures: Path) -> None:
    chosen = choose_pictures(split_of(pictures, 60, 0, 0), None, refitted=True)
    parts = [paths(chosen, part) for part in ("calibration", "trial", "held_out")]
    assert [len(part) for part in parts] == [24, 12, 24]
    assert len(set.union(*parts)) == 60
    assert (chosen.held_out.part, chosen.trial_part) == ("train", "train")
    assert not chosen.held_out.labelled


def test_a_refit_is_measured_on_the_folder_where_one_is_given(
    pictures: Path, tmp_path: Path
) -> None:
    folder = write_class_folders(tmp_path / "new", 5)
    chosen = choose_pictures(split_of(pictures, 60, 0, 0), folder, refitted=True)
    assert (chosen.held_out.part, len(chosen.held_out.examples)) == ("unlabelled", 6)
    assert all(path.is_relative_to(folder) for path in paths(chosen, "held_out"))


def test_a_folder_is_parted_where_nothing_was_kept_back(pictures: Path) -> None:
    chosen = choose_pictures(split_of(pictures, 60, 0, 0), pictures)
    parts = [paths(chosen, part) for part in ("calibration", "trial", "held_out")]
    assert [len(part) for part in parts] == [24, 12, 24]
    assert len(set.union(*parts)) == 60
    assert not chosen.held_out.labelled


def test_calibration_pictures_are_the_same_every_time_and_named_below_the_data(
    pictures: Path,
) -> None:
    split = split_of(pictures, 30, 0, 20)
    names = choose_pictures(split, None).calibration_names()
    assert names == choose_pictures(split, None).calibration_names()
    assert len(names) == 20
    assert all((pictures / name).is_file() for name in names)
    assert {Path(name).parent.name for name in names} == {"checks", "slope", "stripes"}


def test_two_pictures_are_too_few_to_part(pictures: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 40)).save(tmp_path / name)
    with pytest.raises(DataError) as caught:
        choose_pictures(split_of(pictures, 60, 0, 0), tmp_path)
    assert str(caught.value) == f"'{tmp_path}' holds 2 pictures."


def test_pictures_of_one_colour_each_are_no_calibration(pictures: Path, tmp_path: Path) -> None:
    for number in range(5):
        Image.new("RGB", (40, 40), (0, 10 * number, 0)).save(tmp_path / f"{number}.png")
    chosen = choose_pictures(split_of(pictures, 30, 10, 20), tmp_path)
    with pytest.raises(DataError) as caught:
        calibration_pixels(chosen, SPEC, Silent())
    assert str(caught.value) == (
        f"All 5 pictures of '{tmp_path}' to choose int8 ranges by are of one colour."
    )


def test_a_single_picture_is_enough_but_said_to_be_few(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.arange(4800, dtype=np.uint8).reshape(40, 40, 3)).save(tmp_path / "a.png")
    said: list[str] = []
    monkeypatch.setattr(Silent, "say", lambda _, text: said.append(text))
    chosen = choose_pictures(split_of(pictures, 30, 10, 20), tmp_path)
    assert len(calibration_pixels(chosen, SPEC, Silent())) == 1
    assert said == ["int8 ranges are chosen by only 1 pictures; a hundred or more are better"]
