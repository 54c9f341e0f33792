"""Training candidates: a few epochs, then the whole recipe."""

import math
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from edgetl.core.progress import Progress
from edgetl.data.split import SPLITS_FILE, FilesByLabel, read_split
from edgetl.evaluation.metrics import top1_interval
from edgetl.workstation.backbones.checkpoint import read_facts
from edgetl.workstation.choosing.results import Accuracy, Result
from edgetl.workstation.recipe import Recipe, with_epochs, with_validation
from edgetl.workstation.run_folder import run_state
from edgetl.workstation.training.finetune import finetune

# The brief training has this share of the recipe's epochs.
_BRIEF = 0.25


class Patience:
    """How long candidates may be trained, and how long each is expected to take.

    Training takes a time in proportion to the inference's, by what earlier candidates took.
    """

    def __init__(self, minutes: float | None) -> None:
        """`minutes`, counted from now; None: without end."""
        self._minutes = minutes
        self._end_s = None if minutes is None else time.monotonic() + 60 * minutes
        self._seconds = self._work = 0.0

    def part_s(self, share: float) -> float | None:
        """A share of the whole time in seconds; None: without end."""
        return None if self._minutes is None else 60 * self._minutes * share

    def took(self, result: Result, epochs: int, seconds: float) -> None:
        """Learn from a training of so many epochs."""
        self._seconds += seconds
        self._work += result.cost.inference_ms * epochs

    def affords(self, result: Result, epochs: int, share: float = 1.0) -> bool:
        """Whether a training should end within a share of the time that is left."""
        if self._end_s is None or not self._work:
            return True
        expected_s = self._seconds / self._work * result.cost.inference_ms * epochs
        return expected_s <= share * (self._end_s - time.monotonic())


class Trainer(NamedTuple):
    """What all candidates are trained with.

    Attributes:
        data: the pictures, as `finetune` takes them.
        pictures: how many training pictures there are.
        folder: the plan's folder; runs are made in `brief` and `runs` below it.
        recipe: the recipe, whose network and picture size each candidate replaces.
        device: as in `finetune`.
        gpu: whether that is a GPU, which "auto" epochs depend on.
        patience: how long candidates may be trained.
        progress: where to show how far it is.
    """

    data: Path
    pictures: int
    folder: Path
    recipe: Recipe
    device: str
    gpu: bool
    patience: Patience
    progress: Progress

    def affords(self, result: Result, share: float = 1.0) -> bool:
        """Whether the whole recipe should end within a share of the time that is left."""
        return self.patience.affords(result, self._whole().finetune.total_epochs, share)

    def brief(self, result: Result) -> Result:
        """Train for a quarter of the epochs, scored on a fifth of the pictures that is no test."""
        whole = self._whole()
        settings = whole.finetune
        epochs = max(1, math.ceil(_BRIEF * settings.total_epochs))
        recipe = msgspec.structs.replace(
            with_validation(whole),
            finetune=msgspec.structs.replace(
                settings, epochs=epochs, cached_views=min(settings.cached_views, epochs)
            ),
        )
        run = self.folder / "brief" / result.candidate.file_name
        self._finish(run, result, recipe)
        score = _accuracy(read_facts(run).val_top1, read_split(run / SPLITS_FILE).val)
        return msgspec.structs.replace(result, brief=score)

    def whole(self, result: Result) -> Result:
        """Train by the whole recipe, scored on the test part."""
        name = f"runs/{result.candidate.file_name}"
        run = self.folder / name
        self._finish(run, result, self._whole())
        score = _accuracy(read_facts(run).test_top1, read_split(run / SPLITS_FILE).test)
        return msgspec.structs.replace(result, whole=score, run=name)

    def _whole(self) -> Recipe:
        return with_epochs(self.recipe, self.pictures, gpu=self.gpu)

    def _finish(self, run: Path, result: Result, recipe: Recipe) -> None:
        """Train a run, from its last whole epoch if it was interrupted, unless it is finished."""
        state = run_state(run)
        if state == "finished":
            return
        outcome = finetune(
            self.data,
            run,
            result.candidate.recipe(recipe),
            resume=state == "interrupted",
            device=self.device,
            progress=self.progress,
        )
        if state == "new":
            self.patience.took(result, recipe.finetune.total_epochs, outcome.seconds)


def _accuracy(top1: float | None, part: FilesByLabel) -> Accuracy:
    """The score of a run on a part of its pictures, which is not empty."""
    assert top1 is not None
    images = sum(map(len, part.values()))
    right = np.arange(images) < round(top1 * images)
    return Accuracy(top1=top1, images=images, interval=top1_interval(right))
