"""Refit: after a measured run, train the same recipe on every picture, for shipping."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from edgetl.bundle.reports import Twin
from edgetl.core.errors import EdgetlError
from edgetl.core.progress import Progress, Silent
from edgetl.data.additions import add_to_training
from edgetl.data.dataset import base_folder
from edgetl.data.split import Parts, describe, make_parts
from edgetl.data.unlabelled import add_unlabelled
from edgetl.evaluation.metrics import accuracy_report
from edgetl.evaluation.temperature import cross_fit
from edgetl.workstation.datasets.locate import locate
from edgetl.workstation.libraries import require_training
from edgetl.workstation.recipe import RECIPE_FILE, Recipe, load_recipe, with_preset_values
from edgetl.workstation.run_folder import State, require_same, require_state, run_state
from edgetl.workstation.training.distributed.environment import require_one
from edgetl.workstation.training.finetune import finetune
from edgetl.workstation.training.folds import Validated, cross_validate, folds_state
from edgetl.workstation.training.teaching.request import NO_TEACHING, Teaching

if TYPE_CHECKING:
    from edgetl.workstation.training.run import Outcome

REFIT_FOLDER = "refit"
Ended = TypeVar("Ended")


class Refitted(NamedTuple):
    """The result of a refit.

    Attributes:
        outcome: of the run on every picture, which has no scores of its own.
        run: the outcome of the measured run; None if it was finished before this call.
        validated: the same for a cross-validation.
    """

    outcome: "Outcome"
    run: "Outcome | None" = None
    validated: Validated | None = None


class _Plan(NamedTuple):
    """The arguments of a refit; `folds`: the twin is a cross-validation."""

    data: Path
    out: Path
    recipe: Recipe
    val: Path | None
    add: Sequence[Path]
    teaching: Teaching
    folds: bool
    loggers: Sequence[str]
    device: str
    progress: Progress

    def twin_recipes(self) -> dict[Path, Recipe]:
        """The recipe of each of the twin's run folders: one, or one per fold."""
        if not self.folds:
            return {self.out: self.recipe}
        split = self.recipe.split
        return {
            self.out / f"fold-{index + 1}": msgspec.structs.replace(
                self.recipe, split=msgspec.structs.replace(split, fold=index)
            )
            for index in range(split.folds)
        }

    def parts(self, recipe: Recipe) -> Parts:
        """The training, validation and test pictures of one of the twin's runs."""
        parts = make_parts(self.data, recipe.split, recipe.seed, self.val)
        return add_unlabelled(add_to_training(parts, self.add), self.teaching.unlabelled)


def finetune_and_refit(
    data: Path,
    out: Path,
    recipe: Recipe,
    *,
    folds: bool = False,
    val: Path | None = None,
    add: Sequence[Path] = (),
    teaching: Teaching = NO_TEACHING,
    resume: bool = False,
    loggers: Sequence[str] = (),
    device: str = "auto",
    progress: Progress | None = None,
) -> Refitted:
    """Measure a recipe with pictures held out, then train it again on every picture.

    The measured run (the twin) is in `out`. The network to ship, in `out/refit`, is trained on
    the training, validation and test pictures for as many epochs. No pictures are held out from
    it, so it reports the twin's scores and temperature, marked as the twin's. A finished twin is
    not trained again; `resume` continues whichever of the two was interrupted.

    Args:
        folds: the twin is a cross-validation of `recipe.split.folds` folds.

    The other arguments are those of `finetune`. Raises EdgetlError, also if there is no test
    part, or a finished twin has another recipe or other pictures.
    """
    require_one(os.environ, "A refit")
    progress = progress or Silent()
    data = locate(data, progress)
    teaching.require_use(recipe)
    recipe = with_preset_values(recipe)
    plan = _Plan(data, out, recipe, val, add, teaching, folds, loggers, device, progress)
    parts = plan.parts(plan.recipe)
    if not parts.test:
        raise EdgetlError(
            f"No picture of '{data}' is held out to test on: a refit could not be measured.",
            hint="leave --refit away, as the run learns from every picture already; or hold some "
            "out: --set split.test=0.2",
        )
    require_training()
    refit = out / REFIT_FOLDER
    state = run_state(refit)
    if state != "new":
        require_state(refit, state, resume=resume)
    measured = validated = None
    if _twin_state(out, folds) == "finished":
        _require_same_twin(plan)
    elif folds:
        validated = _train_twin(cross_validate, plan, resume, teaching=plan.teaching)
    else:
        measured = _train_twin(finetune, plan, resume, **plan.teaching._asdict())
    outcome = _train_on_all(plan, parts, resume=state == "interrupted")
    return Refitted(outcome, measured, validated)


def refit_state(out: Path, *, folds: bool) -> State:
    """The state of a run or cross-validation and its refit, taken together."""
    twin = _twin_state(out, folds)
    if twin != "finished":
        return twin
    return "finished" if run_state(out / REFIT_FOLDER) == "finished" else "interrupted"


def _twin_state(out: Path, folds: bool) -> State:
    return folds_state(out) if folds else run_state(out)


def _train_twin(train: Callable[..., Ended], plan: _Plan, resume: bool, **teaching: Any) -> Ended:
    plan.progress.say("training with a test part held out, to measure")
    return train(
        plan.data,
        plan.out,
        plan.recipe,
        val=plan.val,
        add=plan.add,
        resume=resume,
        loggers=plan.loggers,
        device=plan.device,
        progress=plan.progress,
        **teaching,
    )


def _require_same_twin(plan: _Plan) -> None:
    from edgetl.workstation.training.teaching.teacher import find_teacher

    for run, recipe in plan.twin_recipes().items():
        parts = plan.parts(recipe)
        require_same(run, recipe, describe(parts, base_folder(plan.data), []), plan.data)
        find_teacher(plan.teaching, parts, plan.progress, begun=run)


def _train_on_all(plan: _Plan, parts: Parts, *, resume: bool) -> "Outcome":
    from edgetl.workstation.training.run import train_run

    everything = sorted({*parts.train, *parts.val, *parts.test})
    twin = _measure_twin(plan)
    plan.progress.say(f"training again on all {len(everything)} pictures")
    return train_run(
        load_recipe(str(next(iter(plan.twin_recipes())) / RECIPE_FILE)),
        Parts(parts.labels, everything, [], [], parts.added, parts.unlabelled),
        base_folder(plan.data),
        plan.out / REFIT_FOLDER,
        plan.progress,
        resume=resume,
        loggers=tuple(dict.fromkeys(plan.loggers)),
        device=plan.device,
        twin=twin,
        teaching=plan.teaching,
    )


def _measure_twin(plan: _Plan) -> Twin:
    """Score the twin again, so that one finished earlier is measured like a new one."""
    from edgetl.workstation.training.fold_predictions import predict_test_part

    runs = list(plan.twin_recipes())
    tests = [predict_test_part(run, plan.progress) for run in runs]
    truth = np.concatenate([test.truth for test in tests])
    logits = np.concatenate([test.logits for test in tests])
    report = accuracy_report(truth, logits, tests[0].labels, subject="twin")
    temperature = tests[0].calibration.temperature
    if plan.folds:  # one for all folds: each picture is predicted by a network not trained on it
        temperature = cross_fit(truth, logits).temperature
    return Twin(
        run=plan.out.resolve().name,
        top1=report.top1,
        top1_interval=report.top1_interval,
        images=report.images,
        source=f"{len(runs)} folds" if plan.folds else "test part",
        temperature=temperature,
    )
