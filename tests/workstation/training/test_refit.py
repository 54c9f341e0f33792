import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from edgetl.bundle.reports import FoldsReport
from edgetl.core.errors import EdgetlError
from edgetl.core.progress import Silent
from edgetl.core.schema import from_json
from edgetl.data.split import read_split
from edgetl.evaluation.metrics import accuracy_report
from edgetl.evaluation.temperature import cross_fit
from edgetl.workstation.backbones.checkpoint import read_facts
from edgetl.workstation.recipe import load_recipe
from edgetl.workstation.training.finetune import finetune
from edgetl.workstation.training.fold_predictions import predict_test_part
from edgetl.workstation.training.refit import finetune_and_refit, refit_state
from tests.making import Remarks, inside, quick, write_class_folders


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A measured run and its refit that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    finetune_and_refit(data, out, quick("split.val=0.1"))
    return out


@pytest.fixture
def measured(whole: Path, tmp_path: Path) -> Path:
    """The measured run without its refit."""
    run = shutil.copytree(whole, tmp_path / "run")
    shutil.rmtree(run / "refit")
    return Path(run)


class InTheRefit(Remarks):
    """Interrupts the refit when `at` is said."""

    def __init__(self, at: str) -> None:
        super().__init__()
        self._at = at

    def say(self, text: str) -> None:
        super().say(text)
        if text.startswith(self._at) and "training again on all 18 pictures" in self.said:
            raise KeyboardInterrupt


def expect(message: str, hint: str, *arguments: object, **options: object) -> None:
    with pytest.raises(EdgetlError) as caught:
        finetune_and_refit(*arguments, **options)  # type: ignore[arg-type]
    assert (str(caught.value), caught.value.hint, caught.value.exit_code) == (message, hint, 1)


def names_of(run: Path, part: str) -> list[str]:
    parts = getattr(read_split(run / "splits.json"), part)
    return sorted(name for names in parts.values() for name in names)


def test_a_refit_is_a_run_of_its_own_that_learned_from_every_picture(
    whole: Path, data: Path
) -> None:
    refit = whole / "refit"
    assert {"checkpoint.safetensors", "metrics.jsonl", "recipe.yaml"} <= set(inside(refit))
    assert names_of(refit, "train") == sorted(
        p.relative_to(data).as_posix() for p in data.rglob("*.png")
    )
    assert names_of(refit, "val") == names_of(refit, "test") == []
    assert read_facts(refit).training_images == 18
    assert len((refit / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_refit_is_trained_by_the_recipe_of_its_twin(whole: Path) -> None:
    assert (whole / "refit" / "recipe.yaml").read_text() == (whole / "recipe.yaml").read_text()


def test_a_refit_has_its_twins_epochs_where_the_recipe_leaves_them_open(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 3 epochs of 12 pictures, and as much of 15, rounded up; the refit's 18 would have 2.
    for name, value in (("CPU_EPOCHS", 3), ("GPU_EPOCHS", 3), ("MANY_PICTURES", 12)):
        monkeypatch.setattr(f"edgetl.workstation.recipe._{name}", value)
    monkeypatch.setattr("edgetl.workstation.recipe._LEAST_EPOCHS", 1)
    recipe = quick("finetune.epochs=auto", "finetune.batch=2")
    finetune_and_refit(data, tmp_path / "run", recipe)
    for run in (tmp_path / "run", tmp_path / "run" / "refit"):
        assert load_recipe(str(run / "recipe.yaml")).finetune.epochs == 3


def test_a_refit_carries_the_score_and_the_temperature_of_its_twin(whole: Path) -> None:
    twin, facts = read_facts(whole), read_facts(whole / "refit")
    assert (facts.test_top1, facts.val_top1, facts.finished) == (None, None, True)
    assert facts.temperature == twin.temperature
    assert facts.temperature_from == "twin"
    assert facts.twin is not None
    assert (facts.twin.run, facts.twin.source, facts.twin.images) == ("run", "test part", 3)
    assert facts.twin.top1 == twin.test_top1
    assert facts.twin.temperature == twin.temperature
    said = predict_test_part(whole, Silent())
    report = accuracy_report(said.truth, said.logits, said.labels, subject="it")
    assert facts.twin.top1_interval == report.top1_interval
    assert twin.twin is None


def test_a_finished_run_only_gets_its_refit(measured: Path, whole: Path, data: Path) -> None:
    before = (measured / "checkpoint.safetensors").stat().st_mtime_ns
    refitted = finetune_and_refit(data, measured, quick("split.val=0.1"))
    assert refitted.run is refitted.validated is None
    assert (measured / "checkpoint.safetensors").stat().st_mtime_ns == before
    for name in ("checkpoint.safetensors", "checkpoint.json", "splits.json"):
        assert (measured / "refit" / name).read_bytes() == (whole / "refit" / name).read_bytes()


@pytest.mark.parametrize("until", ["training again", "epoch 1:"])
def test_an_interrupted_refit_goes_on_where_it_was(
    measured: Path, whole: Path, data: Path, until: str
) -> None:
    recipe = quick("split.val=0.1")
    with pytest.raises(KeyboardInterrupt):
        finetune_and_refit(data, measured, recipe, progress=InTheRefit(until))
    assert refit_state(measured, folds=False) == "interrupted"
    finetune_and_refit(data, measured, recipe, resume=True)
    assert refit_state(measured, folds=False) == "finished"
    for name in ("checkpoint.safetensors", "checkpoint.json"):
        assert (measured / "refit" / name).read_bytes() == (whole / "refit" / name).read_bytes()


def test_an_interrupted_twin_goes_on_and_is_refitted_then(
    whole: Path, data: Path, tmp_path: Path
) -> None:
    run, recipe = tmp_path / "run", quick("split.val=0.1")
    with pytest.raises(KeyboardInterrupt):
        finetune_and_refit(data, run, recipe, progress=Remarks("epoch 1:", KeyboardInterrupt()))
    assert refit_state(run, folds=False) == "interrupted"
    expect(
        f"'{run}' already holds an interrupted run.",
        "choose another folder with -o, or continue it with --resume.",
        data, run, recipe,
    )  # fmt: skip
    finetune_and_refit(data, run, recipe, resume=True)
    for path in ("checkpoint.safetensors", "refit/checkpoint.safetensors"):
        assert (run / path).read_bytes() == (whole / path).read_bytes()


def test_a_refit_is_never_trained_over(whole: Path, data: Path) -> None:
    recipe = quick("split.val=0.1")
    expect(
        f"'{whole / 'refit'}' already holds a run.", "choose another folder with -o.",
        data, whole, recipe,
    )  # fmt: skip
    expect(
        f"'{whole / 'refit'}' is a finished run; there is nothing to resume.",
        "to train further, start a new run in another folder with -o.",
        data, whole, recipe, resume=True,
    )  # fmt: skip


def test_a_run_of_another_recipe_or_other_pictures_is_not_refitted(
    measured: Path, data: Path, tmp_path: Path
) -> None:
    expect(
        f"'{measured}' was begun with another recipe.",
        f"compare '{measured / 'recipe.yaml'}', or start a new run in another folder.",
        data, measured, quick(),
    )  # fmt: skip
    fewer = Path(shutil.copytree(data, tmp_path / "fewer"))
    (fewer / "slope" / "00.png").unlink()
    expect(
        f"'{fewer}' does not hold the same pictures as when '{measured}' was begun.",
        "put back what was moved, or start again in another folder.",
        fewer, measured, quick("split.val=0.1"),
    )  # fmt: skip
    assert not (measured / "refit").exists()


def test_without_a_test_part_there_is_nothing_to_refit_by(data: Path, tmp_path: Path) -> None:
    expect(
        f"No picture of '{data}' is held out to test on: a refit could not be measured.",
        "leave --refit away, as the run learns from every picture already; or hold some out: "
        "--set split.test=0.2",
        data, tmp_path / "run", quick("split.test=0"),
    )  # fmt: skip
    assert inside(tmp_path) == []


def test_the_pictures_of_every_given_part_are_learned_from(tmp_path: Path) -> None:
    for name, count, seed in (("train", 4, 0), ("val", 2, 100), ("test", 3, 200)):
        write_class_folders(tmp_path / "data" / name, count, first_seed=seed)
    finetune_and_refit(tmp_path / "data", tmp_path / "run", quick("finetune.epochs=0"))
    refit = tmp_path / "run" / "refit"
    assert len(names_of(refit, "train")) == 27
    assert read_facts(refit).twin.images == 9


def test_unreadable_pictures_are_told_once_for_both(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "data", 6)
    (data / "slope" / "bad.jpg").touch()
    refitted = finetune_and_refit(data, tmp_path / "run", quick("finetune.epochs=0"))
    assert [item.path.name for item in refitted.outcome.unreadable] == ["bad.jpg"]


def test_folds_measure_a_refit_on_every_picture(data: Path, tmp_path: Path) -> None:
    out, recipe = tmp_path / "cross", quick("split.folds=3")
    refitted = finetune_and_refit(data, out, recipe, folds=True)
    assert inside(out) == ["fold-1", "fold-2", "fold-3", "folds.json", "refit"]
    report = from_json((out / "folds.json").read_bytes(), FoldsReport, where="folds.json")
    assert refitted.validated is not None
    assert refitted.validated.report == report
    twin = read_facts(out / "refit").twin
    assert (twin.run, twin.source, twin.images) == ("cross", "3 folds", 18)
    assert (twin.top1, twin.top1_interval) == (report.pooled.top1, report.pooled.top1_interval)
    answers = [predict_test_part(out / f"fold-{i}", Silent()) for i in (1, 2, 3)]
    pooled = cross_fit(
        np.concatenate([said.truth for said in answers]),
        np.concatenate([said.logits for said in answers]),
    )
    assert twin.temperature == pooled.temperature
    assert len(names_of(out / "refit", "train")) == 18
    assert refit_state(out, folds=True) == "finished"

    shutil.rmtree(out / "refit")
    assert refit_state(out, folds=True) == "interrupted"
    again = finetune_and_refit(data, out, recipe, folds=True)
    assert again.validated is None
    assert read_facts(out / "refit").twin == twin


def test_a_plain_run_is_no_refit(data: Path, tmp_path: Path) -> None:
    finetune(data, tmp_path / "run", quick("finetune.epochs=0"))
    assert read_facts(tmp_path / "run").twin is None
    assert refit_state(tmp_path / "run", folds=False) == "interrupted"
