"""K-fold cross-validation: one run per fold, and how much their scores differ."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.reports import AccuracyReport, FoldScore, FoldsReport, Spread
from edgetl.core.errors import EdgetlError
from edgetl.core.files import write_text
from edgetl.core.progress import Progress, Silent
from edgetl.core.schema import to_json
from edgetl.data.additions import add_to_training
from edgetl.data.dataset import base_folder
from edgetl.data.split import SplitFiles, describe, make_parts
from edgetl.data.unlabelled import add_unlabelled
from edgetl.evaluation.metrics import accuracy_report
from edgetl.workstation.datasets.locate import locate
from edgetl.workstation.libraries import require_training
from edgetl.workstation.recipe import Recipe, with_preset_values
from edgetl.workstation.run_folder import State, require_same, require_state, run_state
from edgetl.workstation.training.distributed.environment import require_one
from edgetl.workstation.training.finetune import finetune
from edgetl.workstation.training.teaching.request import NO_TEACHING, Teaching

if TYPE_CHECKING:
    from edgetl.data.folders import Unreadable
    from edgetl.workstation.training.fold_predictions import FoldPredictions

FOLDS_FILE = "folds.json"


class Validated(NamedTuple):
    """A cross-validation's report, and the pictures that this call could not read."""

    report: FoldsReport
    unreadable: "list[Unreadable]"


class _Fold(NamedTuple):
    run: Path
    recipe: Recipe
    split: SplitFiles


def cross_validate(
    data: Path,
    out: Path,
    recipe: Recipe,
    *,
    val: Path | None = None,
    add: Sequence[Path] = (),
    teaching: Teaching = NO_TEACHING,
    resume: bool = False,
    loggers: Sequence[str] = (),
    device: str = "auto",
    progress: Progress | None = None,
) -> Validated:
    """Fine-tune once for each of `recipe.split.folds` folds, with that fold as the test part.

    Writes the runs `fold-1` to `fold-K` and `folds.json` into `out`. The other arguments are those
    of `finetune`; `resume` keeps finished folds and continues with the others.

    Raises EdgetlError, also if a class has fewer pictures than there are folds, or the data have
    a test part of their own.
    """
    require_one(os.environ, "Cross-validation")
    progress = progress or Silent()
    if recipe.split.folds < 2 or recipe.split.fold:
        raise EdgetlError(
            "Cross-validation trains every fold, and at least 2 of them.",
            hint="leave split.fold away, and give the number of folds: --folds 5",
        )
    require_training()
    data = locate(data, progress)
    state = folds_state(out)
    require_state(out, state, resume=resume, what="cross-validation")
    if run_state(out) != "new":
        raise EdgetlError(f"'{out}' already holds a run.", hint="choose another folder with -o.")
    if resume and state == "new":
        raise EdgetlError(
            f"'{out}' has nothing to resume.", hint="leave --resume away to start a new run."
        )
    # Check all folds before training the first: errors in the last one show at once.
    teaching.require_use(recipe)
    folds = [_fold(data, out, recipe, i, val, add, teaching) for i in range(recipe.split.folds)]
    for fold in folds:
        if run_state(fold.run) != "new":
            require_same(fold.run, fold.recipe, fold.split, data)
    unreadable = _train_all(folds, data, val, add, teaching, loggers, device, progress)
    report = _score_all(folds, progress)
    write_text(out / FOLDS_FILE, to_json(report))
    return Validated(report, unreadable)


def folds_state(out: Path) -> State:
    """Whether the cross-validation in a folder is new, interrupted or finished."""
    if (out / FOLDS_FILE).is_file():
        return "finished"
    begun = any(run_state(run) != "new" for run in out.glob("fold-*"))
    return "interrupted" if begun else "new"


def _fold(
    data: Path,
    out: Path,
    recipe: Recipe,
    index: int,
    val: Path | None,
    add: Sequence[Path],
    teaching: Teaching,
) -> _Fold:
    split = msgspec.structs.replace(recipe.split, fold=index)
    parts = add_to_training(make_parts(data, split, recipe.seed, val), add)
    parts = add_unlabelled(parts, teaching.unlabelled)
    return _Fold(
        out / f"fold-{index + 1}",
        msgspec.structs.replace(with_preset_values(recipe), split=split),
        describe(parts, base_folder(data), []),
    )


def _train_all(
    folds: Sequence[_Fold],
    data: Path,
    val: Path | None,
    add: Sequence[Path],
    teaching: Teaching,
    loggers: Sequence[str],
    device: str,
    progress: Progress,
) -> "list[Unreadable]":
    """Train the folds that are not finished yet; returns the unreadable pictures."""
    unreadable: dict[Path, Unreadable] = {}
    for number, fold in enumerate(folds, 1):
        state = run_state(fold.run)
        if state == "finished":
            progress.say(f"fold {number} of {len(folds)}: finished before")
            continue
        progress.say(f"fold {number} of {len(folds)}")
        outcome = finetune(
            data,
            fold.run,
            fold.recipe,
            val=val,
            add=add,
            **teaching._asdict(),
            resume=state == "interrupted",
            loggers=loggers,
            device=device,
            progress=progress,
        )
        unreadable |= {item.path: item for item in outcome.unreadable}
    return list(unreadable.values())


def _score_all(folds: Sequence[_Fold], progress: Progress) -> FoldsReport:
    """Predict every test part again, so that resumed and uninterrupted runs report alike."""
    from edgetl.workstation.training.fold_predictions import predict_test_part

    predictions = [predict_test_part(fold.run, progress) for fold in folds]
    reports = [_report(test, fold.run.name) for fold, test in zip(folds, predictions, strict=True)]
    scores = tuple(
        FoldScore(run=fold.run.name, images=r.images, top1=r.top1, macro_f1=r.macro_f1)
        for fold, r in zip(folds, reports, strict=True)
    )
    return FoldsReport(
        folds=scores,
        top1=_spread([score.top1 for score in scores]),
        macro_f1=_spread([score.macro_f1 for score in scores]),
        pooled=accuracy_report(
            np.concatenate([test.truth for test in predictions]),
            np.concatenate([_calibrated(test) for test in predictions]),
            predictions[0].labels,
            subject=f"torch float32, {len(folds)} folds",
            temperature_from=predictions[0].calibration.source,
        ),
    )


def _calibrated(test: "FoldPredictions") -> NDArray[np.float32]:
    """Logits divided by the temperature that each picture is evaluated at."""
    return (test.logits / test.calibration.per_picture[:, np.newaxis]).astype(np.float32)


def _report(test: "FoldPredictions", name: str) -> AccuracyReport:
    return accuracy_report(
        test.truth,
        test.logits,
        test.labels,
        subject=name,
        temperature=test.calibration.temperature,
        judged_at=test.calibration.per_picture,
        temperature_from=test.calibration.source,
    )


def _spread(scores: Sequence[float]) -> Spread:
    return Spread(mean=float(np.mean(scores)), deviation=float(np.std(scores, ddof=1)))
