"""One trial: draw values, train, report every epoch, end early where others are better."""

import math
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import optuna
from optuna import TrialPruned
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial

from edgetl.core.errors import EdgetlError, SchemaError
from edgetl.core.progress import Progress, Stage
from edgetl.data.split import Parts
from edgetl.workstation.ranges import Between, Range, Scalar
from edgetl.workstation.recipe import Recipe
from edgetl.workstation.search import study as studies
from edgetl.workstation.search.space import Space
from edgetl.workstation.training.epoch_losses import DivergedError
from edgetl.workstation.training.history import EpochMetrics
from edgetl.workstation.training.run import Outcome, train_run

# Trials whose values are drawn at random, before the sampler learns from their losses.
_RANDOM_TRIALS = 6
# So many first trials run to their end: with less to compare with, chance would decide.
_UNPRUNED_TRIALS = 4
TRIALS_FOLDER = "trials"


class SuperfluousError(Exception):
    """Other processes have begun as many trials as are wanted."""


class Trainer(NamedTuple):
    """What all trials are trained with.

    Attributes:
        space: the recipe, with a validation part, and what is searched.
        parts: the pictures, without a test part.
        base: the folder of the pictures.
        folder: the search's folder; runs are made in `trials` below it.
        wanted: how many trials the study is to have.
        device: as in `finetune`.
        progress: where to show how far it is.
    """

    space: Space
    parts: Parts
    base: Path
    folder: Path
    wanted: int
    device: str
    progress: Progress

    def run(self, trial: optuna.Trial) -> float:
        """Train a trial; returns its calibrated validation loss.

        Raises TrialPruned if it ended early, SuperfluousError if it is one too many.
        """
        place = studies.place_in_line(trial.study, trial.number)
        if place >= self.wanted:
            trial.set_user_attr(studies.SUPERFLUOUS, True)
            raise SuperfluousError
        name, began = f"trial {number_of(trial)}", time.monotonic()
        counted = (
            f"of {self.wanted}" if place == trial.number else f"({place + 1} of {self.wanted})"
        )
        try:
            values = self._values(trial)
            self.progress.say(f"{name} {counted}: {described(values, trial)}")
            loss, top1 = self._scored(trial, values)
        except TrialPruned:
            trial.set_user_attr(studies.SECONDS, time.monotonic() - began)
            self.progress.say(f"{name}: {trial.user_attrs[studies.REASON]}")
            raise
        except (Exception, KeyboardInterrupt) as error:  # those with which Optuna fails a trial
            trial.set_user_attr(studies.REASON, str(error) or "interrupted")
            studies.put_back(trial, self.space.own_values)
            raise
        trial.set_user_attr(studies.SECONDS, time.monotonic() - began)
        trial.set_user_attr(studies.TOP1, top1)
        self.progress.say(f"{name}: val loss {loss:.4f}, top-1 {top1:.1%}")
        return loss

    def _values(self, trial: optuna.Trial) -> dict[str, Scalar]:
        trial.study.sampler = sampler_for(self.space.recipe.seed, trial.number)
        values = draw(trial, self.space)
        trial.set_user_attr(studies.VALUES, values)
        return values

    def _scored(self, trial: optuna.Trial, values: Mapping[str, Scalar]) -> tuple[float, float]:
        """Train; returns the calibrated validation loss and the top-1."""
        run = self.folder / TRIALS_FOLDER / str(number_of(trial))
        if run.exists():
            raise EdgetlError(
                f"'{run}' already holds a run of another study.",
                hint="choose another folder with -o.",
            )
        try:
            with _removed_unless_finished(run):
                return _score(self._train(trial, run, self.space.with_values(values)))
        except (DivergedError, SchemaError) as error:
            # The values cannot be trained with: the sampler is to keep away from them.
            trial.set_user_attr(studies.REASON, str(error))
            raise TrialPruned from error

    def _train(self, trial: optuna.Trial, run: Path, recipe: Recipe) -> Outcome:
        return train_run(
            recipe,
            self.parts,
            self.base,
            run,
            _StagesOnly(self.progress),
            listeners=[Reporter(trial, recipe.finetune.total_epochs)],
            device=self.device,
        )


class Reporter:
    """Reports each epoch to the study, and ends a trial that the pruner gives up.

    Trials of different length are compared at the same share of their epochs, because a schedule
    reaches its low rates only towards its end. The recipe's own trial is never given up: the gain
    is counted from it.
    """

    def __init__(self, trial: optuna.Trial, epochs: int) -> None:
        """`epochs`: how many the trial has."""
        self._trial, self._epochs = trial, epochs
        is_own = bool(trial.user_attrs.get(studies.OWN))
        self._may_be_pruned = not is_own and trial.number >= _UNPRUNED_TRIALS

    def epoch(self, metrics: EpochMetrics) -> None:
        """Report an epoch. Raises TrialPruned."""
        trial, loss = self._trial, metrics.val_calibrated_loss
        assert loss is not None
        trial.report(loss, studies.WHOLE * metrics.epoch // self._epochs)
        if metrics.epoch >= self._epochs:
            return
        behind = trial.should_prune()  # asked of every trial, which others are then compared with
        if behind and self._may_be_pruned:
            trial.set_user_attr(studies.TOP1, metrics.val_top1)
            trial.set_user_attr(
                studies.REASON, f"pruned after epoch {metrics.epoch}, val loss {loss:.4f}"
            )
            raise TrialPruned

    def end(self, scores: dict[str, float]) -> None:
        """Do nothing: the result is what the trial returns."""


def number_of(trial: optuna.Trial | FrozenTrial) -> int:
    """A trial's number as it is shown: from 1, where Optuna counts from 0."""
    return int(trial.number) + 1


def sampler_for(seed: int, number: int) -> TPESampler:
    """The sampler of one trial.

    It is seeded by the trial's number, too. Otherwise processes that share a study, and a study
    that goes on, would draw the same values again.
    """
    mixed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    return TPESampler(seed=mixed, n_startup_trials=_RANDOM_TRIALS, constant_liar=True)


def draw(trial: optuna.Trial, space: Space) -> dict[str, Scalar]:
    """Draw a trial's values, as short as they are shown: with three digits."""
    return {
        key: _drawn(trial, key, declared, integer=key in space.integers)
        for key, declared in space.ranges.items()
    }


def _drawn(trial: optuna.Trial, key: str, declared: Range, *, integer: bool) -> Scalar:
    if not isinstance(declared, Between):
        choice: Scalar = trial.suggest_categorical(key, declared)
        return choice
    low, high, step = declared.low, declared.high, declared.step
    if integer:
        return trial.suggest_int(key, int(low), int(high), step=int(step or 1), log=declared.log)
    value = trial.suggest_float(key, low, high, step=step, log=declared.log)
    if trial.user_attrs.get(studies.OWN):
        return value
    return min(high, max(low, float(f"{value:.3g}")))


def described(values: Mapping[str, Scalar], trial: optuna.Trial) -> str:
    """A trial's values in words."""
    text = ", ".join(f"{key.split('.')[-1]} {shown(value)}" for key, value in values.items())
    return f"the recipe's own values ({text})" if trial.user_attrs.get(studies.OWN) else text


def shown(value: Scalar) -> str:
    """A value as a table shows it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _score(outcome: Outcome) -> tuple[float, float]:
    """The calibrated validation loss and the top-1. Raises DivergedError for an infinite loss."""
    report = outcome.val
    assert report is not None
    if not math.isfinite(report.nll_after):
        raise DivergedError("The loss on the validation pictures is not a number.")
    return report.nll_after, report.top1


@contextmanager
def _removed_unless_finished(run: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(run, ignore_errors=True)
        raise


class _StagesOnly:
    """Shows a trial's stages, but not what a single run says."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def stage(self, name: str, total: int, unit: str) -> AbstractContextManager[Stage]:
        """Begin a stage that is shown."""
        return self._progress.stage(name, total, unit)

    def say(self, text: str) -> None:
        """Do nothing."""
