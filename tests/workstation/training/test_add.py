"""`finetune --add`: from reviewed pictures to the bundle that was trained on them."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from edgetl.core.errors import EdgetlError
from edgetl.data.split import read_split
from edgetl.workstation.export.export import export
from edgetl.workstation.recipe import override
from edgetl.workstation.training.finetune import finetune
from edgetl.workstation.training.folds import cross_validate
from edgetl.workstation.training.refit import finetune_and_refit
from tests.conftest import Command
from tests.data.test_additions import collect
from tests.making import Remarks, quick


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return collect(tmp_path / "kept", "checks", "slope", "stripes", "", None)


def cut(data: Path, out: Path, add: list[Path]) -> None:
    """A run that is interrupted after its first epoch."""
    with pytest.raises(KeyboardInterrupt):
        finetune(data, out, quick(), add=add, progress=Remarks("epoch 1:", KeyboardInterrupt()))


def test_a_run_records_what_was_added_and_export_counts_it(
    data: Path, kept: Path, tmp_path: Path
) -> None:
    plain = finetune(data, tmp_path / "plain", quick("split.val=0.2"))
    remarks = Remarks()
    more = finetune(
        data, tmp_path / "more", quick("split.val=0.2"), add=[str(kept)], progress=remarks
    )
    before, after = (read_split(tmp_path / run / "splits.json") for run in ("plain", "more"))
    assert (after.val, after.test, after.labels) == (before.val, before.test, before.labels)
    assert len(after.added[str(kept)]) == 3
    assert set(after.added[str(kept)]) < {n for names in after.train.values() for n in names}
    assert more.checkpoint.training_images == plain.checkpoint.training_images + 3
    assert any(text.startswith(f"{kept}: 3 pictures are added") for text in remarks.said)
    bundle = export(tmp_path / "more", tmp_path / "m.edgetl", formats=["onnx"], schemes=["fp32"])
    assert bundle.manifest.provenance.added == {"kept": 3}


def test_a_resumed_run_ends_as_an_uninterrupted_one_also_if_more_was_reviewed_meanwhile(
    data: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = finetune(data, tmp_path / "whole", quick(), add=["kept"])
    cut(data, tmp_path / "cut", [kept])
    collect(kept, "checks", first=300)
    with pytest.raises(EdgetlError, match="was begun with other added pictures") as caught:
        finetune(data, tmp_path / "cut", quick(), resume=True)
    assert caught.value.hint == f"resume it with --add {kept}."
    resumed = finetune(data, tmp_path / "cut", quick(), add=["kept"], resume=True)
    assert resumed.checkpoint.sha256 == whole.checkpoint.sha256
    assert read_split(tmp_path / "cut/splits.json") == read_split(tmp_path / "whole/splits.json")


def test_every_fold_and_the_refit_train_on_what_was_added(
    data: Path, kept: Path, tmp_path: Path
) -> None:
    fast = quick("finetune.epochs=0")
    cross_validate(data, tmp_path / "folds", override(fast, ["split.folds=2"]), add=[kept])
    for fold in (1, 2):
        split = read_split(tmp_path / f"folds/fold-{fold}/splits.json")
        assert len(split.added[str(kept)]) == 3
        assert not any(str(kept) in name for names in split.test.values() for name in names)
    refitted = finetune_and_refit(data, tmp_path / "run", fast, add=[kept])
    assert refitted.outcome.checkpoint.training_images == 18 + 3
    split = read_split(tmp_path / "run/refit/splits.json")
    assert len(split.added[str(kept)]) == 3
    # The finished twin is taken as it is, if it was trained on the same pictures.
    (tmp_path / "run/refit/checkpoint.json").unlink()
    assert finetune_and_refit(data, tmp_path / "run", fast, add=[kept]).run is None
    (tmp_path / "run/refit/checkpoint.json").unlink()
    with pytest.raises(EdgetlError, match="does not hold the same pictures"):
        finetune_and_refit(data, tmp_path / "run", fast)


def test_the_command_names_a_label_that_the_data_lacks(
    edgetl: Command, data: Path, tmp_path: Path
) -> None:
    kept = collect(tmp_path / "kept", "wasps")
    answer = edgetl("finetune", data, "--add", kept, "-o", tmp_path / "run")
    assert (answer.code, answer.out) == (1, "")
    assert f"Error: '{kept}' has pictures of classes that the data set does not have: 'wasps'." in (
        answer.err
    )
    assert not (tmp_path / "run").exists()
