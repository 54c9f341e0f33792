import shutil
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("torch")

from edgetl import evaluate
from edgetl.data.split import read_split
from edgetl.workstation.backbones.checkpoint import read_facts, save_facts
from tests.making import Remarks, write_class_folders


def test_scoring_a_run_on_its_own_training_pictures_is_remarked(
    tiny_run: Path, pictures: Path, tmp_path: Path
) -> None:
    trained = sum(map(len, read_split(tiny_run / "splits.json").train.values()))
    own, others = Remarks(), Remarks()

    evaluate(tiny_run, pictures, progress=own)
    evaluate(tiny_run, write_class_folders(tmp_path / "new", 2, first_seed=500), progress=others)

    assert own.said == [f"note: {trained} of these 60 pictures were trained on"]
    assert others.said == []


def test_scoring_a_run_on_what_its_temperature_was_fitted_to_is_remarked(
    tiny_run: Path, pictures: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    fitted = msgspec.structs.replace(read_facts(run), temperature_from="test, cross-fitted")
    save_facts(run, fitted)
    remarks = Remarks()
    evaluate(run, pictures, progress=remarks)
    assert remarks.said[1:] == [
        "note: the temperature was fitted to 12 of these 60 pictures; the calibration error is "
        "smaller than on others"
    ]
