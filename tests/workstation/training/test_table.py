"""A table in place of folders, from training to the bundle."""

from pathlib import Path

import pytest

pytest.importorskip("litert_torch")

from edgetl import evaluate
from edgetl.data.split import read_split
from edgetl.workstation.export.export import export
from edgetl.workstation.recipe import load_recipe, override
from edgetl.workstation.training.finetune import finetune
from tests.making import Remarks, write_class_folders, write_table
from tests.tiny import TINY

QUICK = (*TINY, "finetune.epochs=0")


def test_a_table_goes_all_the_way_with_its_own_splits(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "photos", 8)
    table = write_table(root, parts=(*["train"] * 5, "val", "test", "test"))
    run = tmp_path / "run"

    finetune(table, run, override(load_recipe("edge-default"), QUICK))
    split = read_split(run / "splits.json")
    assert split.root == str(root)
    assert split.train["slope"] == tuple(f"slope/{i:02}.png" for i in range(5))
    assert split.val["slope"] == ("slope/05.png",)
    assert split.test["slope"] == ("slope/06.png", "slope/07.png")

    bundle = export(run, tmp_path / "m.edgetl", formats=["onnx"], schemes=["fp32"])
    (artifact,) = bundle.manifest.artifacts
    assert artifact.measured is not None
    assert (artifact.measured.images, artifact.measured.part) == (6, "test")
    assert bundle.manifest.provenance.data == "photos"

    said = Remarks()
    report = evaluate(run, table, progress=said)
    assert (report.images, said.said) == (6, [])
    assert report.top1 == artifact.measured.top1


def test_scoring_a_run_on_its_table_remarks_the_training_pictures(tmp_path: Path) -> None:
    table = write_table(write_class_folders(tmp_path / "photos", 5))
    run = tmp_path / "run"
    finetune(table, run, override(load_recipe("edge-default"), QUICK))
    said = Remarks()
    assert evaluate(run, table, progress=said).images == 15
    assert said.said == ["note: 9 of these 15 pictures were trained on"]
