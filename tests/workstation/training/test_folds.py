import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from edgetl.bundle.reports import FoldsReport
from edgetl.core.errors import DataError, EdgetlError
from edgetl.core.schema import from_json
from edgetl.data.split import read_split
from edgetl.workstation.backbones.checkpoint import read_facts
from edgetl.workstation.recipe import Recipe
from edgetl.workstation.training.finetune import finetune
from edgetl.workstation.training.folds import cross_validate, folds_state
from tests import making
from tests.making import Remarks, inside, write_class_folders


def quick(*more: str) -> Recipe:
    return making.quick("split.folds=3", *more)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three folds that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "cross"
    cross_validate(data, out, quick())
    return out


class BrokenOff(Remarks):
    """Interrupts the second fold behind its first epoch."""

    def say(self, text: str) -> None:
        super().say(text)
        if text.startswith("epoch 1:") and "fold 2 of 3" in self.said:
            raise KeyboardInterrupt


@pytest.fixture
def broken_off(data: Path, tmp_path: Path) -> Path:
    """A cross-validation with one finished fold and one begun."""
    with pytest.raises(KeyboardInterrupt):
        cross_validate(data, tmp_path / "cross", quick(), progress=BrokenOff())
    return tmp_path / "cross"


def report_in(out: Path) -> FoldsReport:
    return from_json((out / "folds.json").read_bytes(), FoldsReport, where="folds.json")


def expect(message: str, hint: str | None, *arguments: object, **options: object) -> None:
    with pytest.raises(EdgetlError) as caught:
        cross_validate(*arguments, **options)  # type: ignore[arg-type]
    assert str(caught.value) == message
    if hint is not None:
        assert caught.value.hint == hint


def test_each_fold_is_a_finished_run_and_every_picture_is_tested_once(
    whole: Path, data: Path
) -> None:
    assert inside(whole) == ["fold-1", "fold-2", "fold-3", "folds.json"]
    tested: list[str] = []
    for i in range(3):
        run = whole / f"fold-{i + 1}"
        assert read_facts(run).finished
        assert {"checkpoint.safetensors", "metrics.jsonl", "curves.png"} <= set(inside(run))
        split = read_split(run / "splits.json")
        tested += [name for names in split.test.values() for name in names]
        assert {label: len(names) for label, names in split.test.items()} == {
            "checks": 2, "slope": 2, "stripes": 2,
        }  # fmt: skip
    assert sorted(tested) == sorted(p.relative_to(data).as_posix() for p in data.rglob("*.png"))


def test_a_fold_is_the_run_that_its_own_recipe_makes(
    whole: Path, data: Path, tmp_path: Path
) -> None:
    finetune(data, tmp_path / "run", quick("split.fold=1"))
    for name in ("checkpoint.safetensors", "checkpoint.json", "recipe.yaml", "splits.json"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / "fold-2" / name).read_bytes()


def test_the_report_gathers_what_each_run_scored(whole: Path) -> None:
    report = report_in(whole)
    assert [fold.run for fold in report.folds] == ["fold-1", "fold-2", "fold-3"]
    assert [fold.images for fold in report.folds] == [6, 6, 6]
    scored = [read_facts(whole / fold.run).test_top1 for fold in report.folds]
    assert [fold.top1 for fold in report.folds] == scored
    for spread, scores in (
        (report.top1, scored),
        (report.macro_f1, [fold.macro_f1 for fold in report.folds]),
    ):
        assert spread.mean == pytest.approx(sum(scores) / 3)
        squares = sum((score - spread.mean) ** 2 for score in scores)
        assert spread.deviation == pytest.approx((squares / 2) ** 0.5)


def test_the_pooled_report_counts_every_picture_once(whole: Path) -> None:
    report = report_in(whole)
    pooled = report.pooled
    assert pooled.subject == "torch float32, 3 folds"
    assert (pooled.images, pooled.labels) == (18, ("checks", "slope", "stripes"))
    assert np.array(pooled.confusion).sum(1).tolist() == [6, 6, 6]
    assert pooled.top1 == pytest.approx(report.top1.mean)  # the folds are of one size


def test_a_resumed_cross_validation_ends_as_an_uninterrupted_one(
    broken_off: Path, whole: Path, data: Path
) -> None:
    assert folds_state(broken_off) == "interrupted"
    assert inside(broken_off) == ["fold-1", "fold-2"]
    first = broken_off / "fold-1" / "checkpoint.safetensors"
    before = first.stat().st_mtime_ns
    remarks = Remarks()
    cross_validate(data, broken_off, quick(), resume=True, progress=remarks)
    assert first.stat().st_mtime_ns == before
    assert "fold 1 of 3: finished before" in remarks.said
    assert folds_state(broken_off) == "finished"
    assert report_in(broken_off) == report_in(whole)


def test_a_cross_validation_cut_off_before_its_report_only_scores(
    whole: Path, data: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(whole, tmp_path / "cross")
    (out / "folds.json").unlink()
    remarks = Remarks()
    cross_validate(data, out, quick(), resume=True, progress=remarks)
    assert not any(text.startswith("epoch") for text in remarks.said)
    assert report_in(out) == report_in(whole)


def test_pictures_that_cannot_be_read_are_told_once(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "data", 6)
    (data / "slope" / "bad.jpg").touch()
    validated = cross_validate(data, tmp_path / "cross", quick("finetune.epochs=0"))
    assert [item.path.name for item in validated.unreadable] == ["bad.jpg"]
    assert validated.report.pooled.images == 18


def test_a_cross_validation_is_never_trained_over(
    whole: Path, broken_off: Path, data: Path, tmp_path: Path
) -> None:
    expect(
        f"'{whole}' already holds a cross-validation.", "choose another folder with -o.",
        data, whole, quick(),
    )  # fmt: skip
    expect(
        f"'{whole}' is a finished cross-validation; there is nothing to resume.", None,
        data, whole, quick(), resume=True,
    )  # fmt: skip
    expect(
        f"'{broken_off}' already holds an interrupted cross-validation.",
        "choose another folder with -o, or continue it with --resume.",
        data, broken_off, quick(),
    )  # fmt: skip
    expect(
        f"'{tmp_path / 'new'}' has nothing to resume.",
        "leave --resume away to start a new run.",
        data, tmp_path / "new", quick(), resume=True,
    )  # fmt: skip
    expect(
        f"'{whole / 'fold-1'}' already holds a run.", "choose another folder with -o.",
        data, whole / "fold-1", quick(),
    )  # fmt: skip


def test_another_recipe_or_other_pictures_cannot_resume_it(
    broken_off: Path, data: Path, tmp_path: Path
) -> None:
    expect(
        f"'{broken_off / 'fold-1'}' was begun with another recipe.", None,
        data, broken_off, quick("split.folds=2"), resume=True,
    )  # fmt: skip
    fewer = shutil.copytree(data, tmp_path / "data")
    (fewer / "slope" / "00.png").unlink()
    expect(
        f"'{fewer}' does not hold the same pictures as when '{broken_off / 'fold-1'}' was begun.",
        "put back what was moved, or start again in another folder.",
        fewer, broken_off, quick(), resume=True,
    )  # fmt: skip


def test_one_fold_of_several_is_no_cross_validation(data: Path, tmp_path: Path) -> None:
    for setting in ("split.folds=0", "split.fold=1"):
        expect(
            "Cross-validation trains every fold, and at least 2 of them.",
            "leave split.fold away, and give the number of folds: --folds 5",
            data, tmp_path / "cross", quick(setting),
        )  # fmt: skip


def test_data_that_cannot_be_parted_leaves_nothing_behind(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 6 pictures, too few for 7 folds"):
        cross_validate(data, tmp_path / "cross", quick("split.folds=7"))
    assert inside(tmp_path) == []
