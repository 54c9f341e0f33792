from pathlib import Path

import pytest

pytest.importorskip("torch")

from edgetl.data.split import read_split
from edgetl.pipeline.evaluate import evaluate
from tests.making import Remarks, write_class_folders


def test_scoring_a_run_on_its_own_training_pictures_is_remarked(
    tiny_run: Path, pictures: Path, tmp_path: Path
) -> None:
    trained = sum(map(len, read_split(tiny_run / "splits.json").train.values()))
    own, others = Remarks(), Remarks()

    evaluate(tiny_run, pictures, progress=own)
    evaluate(tiny_run, write_class_folders(tmp_path / "new", 2, first_seed=500), progress=others)

    assert own.said == [
        f"note: {trained} of these 60 pictures were trained on",
        "note: the temperature was fitted to 12 of these 60 pictures; the calibration error is "
        "smaller than on others",
    ]
    assert others.said == []
