"""Gradient steps: every epoch scored and resumable."""

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from edgetl.backbones.build import Network
from edgetl.core.errors import EdgetlError, first_line
from edgetl.core.files import replacing
from edgetl.core.preprocess import Preprocess
from edgetl.core.progress import Progress, Stage
from edgetl.core.recipe import Recipe
from edgetl.finetune.adapted_norms import adapt_norms
from edgetl.finetune.average import WeightAverage
from edgetl.finetune.captured import CapturedStep
from edgetl.finetune.clock import Clock
from edgetl.finetune.compute import Compute
from edgetl.finetune.decisions import Decisions
from edgetl.finetune.depthwise import speed_up_depthwise
from edgetl.finetune.epoch_losses import EpochLosses
from edgetl.finetune.feed import Feed, make_feed
from edgetl.finetune.freezing import Freezing
from edgetl.finetune.frozen_norms import fold_frozen_norms
from edgetl.finetune.head_start import start_off, with_flip
from edgetl.finetune.mix import Mix
from edgetl.finetune.objective import Objective, epoch_order
from edgetl.finetune.optimizer import Anchor, Schedule, make_optimizer, put_rates_on
from edgetl.finetune.pixels import PixelSet
from edgetl.finetune.scoring import Evaluation, evaluate_batches
from edgetl.finetune.sides import training_side
from edgetl.finetune.step import StepParts, TrainingStep
from edgetl.finetune.training_pictures import TrainingPictures

STATE_FILE = "resume.pt"


class EpochEnd(NamedTuple):
    """An epoch (from 1), its mean training loss, the rate it ended at, and its validation."""

    epoch: int
    loss: float
    rate: float
    val: Evaluation | None


class Best(NamedTuple):
    """The best on the validation part so far.

    Attributes:
        loss: the calibrated loss it is the best by; infinite: there is none.
        top1: the fraction right; None: there is none.
        epoch: the last with this loss (0: the probe).
        since: the first with this loss: none has been better since.
    """

    loss: float = math.inf
    top1: float | None = None
    epoch: int = 0
    since: int = 0


class _Machine(NamedTuple):
    """What takes the steps.

    Attributes:
        learner, scored: the parts of the network, and of what is kept of it, that take the feed's
            batches.
        captured: takes the same steps as `step` on a GPU.
    """

    feed: Feed
    learner: Network
    scored: Network
    step: TrainingStep
    captured: CapturedStep | None


class Trainer:
    """Fine-tunes a network; `epochs()` yields after each epoch.

    Everything random in an epoch is seeded by (seed, epoch), so a resumed run takes the same
    steps as an uninterrupted one.
    """

    def __init__(
        self,
        network: Network,
        train: TrainingPictures,
        val: PixelSet | None,
        spec: Preprocess,
        recipe: Recipe,
        compute: Compute,
        progress: Progress,
        decisions: Decisions | None = None,
    ) -> None:
        self._decisions = decisions or Decisions(None, progress)
        self.network, self.train, self.val, self.spec = network, train, val, spec
        self.recipe, self.compute = recipe, compute
        self._settings = settings = recipe.finetune
        self._progress = progress
        if not compute.gpu:
            speed_up_depthwise(network.model)
        self._classes = network.classes()
        self._freezing = Freezing(network, settings)
        self._objective = Objective(train.labels, self._classes, settings, compute.device)
        # A batch norm cannot learn from a batch of one.
        self._steps = max(1, min(math.ceil(len(train) / settings.batch), len(train) // 2))
        self._optimizer = make_optimizer(network, settings, capturable=compute.captures)
        self._schedule = Schedule(self._optimizer, settings, self._steps)
        if compute.captures:
            put_rates_on(compute.device, self._optimizer)
        self._anchor = Anchor(network, settings.l2sp)
        self._average = WeightAverage(network.model, settings.ema) if settings.ema else None
        self._next_epoch = 0
        self._machine: _Machine | None = None
        self._clock: Clock | None = None

    @property
    def kept(self) -> Network:
        """The network that is scored and kept: the averaged one where the recipe averages."""
        if self._average is None:
            return self.network
        return Network(self._average.model, self.network.backbone)

    @property
    def epochs_done(self) -> int:
        """How many epochs are behind the network."""
        return self._next_epoch

    @property
    def epochs_in_all(self) -> int:
        """How many epochs the recipe has."""
        return self._settings.total_epochs

    def start_head(self) -> Evaluation | None:
        """Before the first step: adapt the norms, fit the probe. Returns the validation score."""
        if self.recipe.probe.enabled:
            self._freezing.train_mode(self.network.model)
            self.recipe = start_off(
                self.network, self.train.whole, self.spec, self.recipe, self._objective,
                self.compute, self._decisions, self._progress,
            )  # fmt: skip
        if self._average:
            self._average.restart(self.network.model)
        return self.validate()

    def validate(self) -> Evaluation | None:
        """Score the validation part as fast as can be: to choose by, not to report."""
        if self.val is None:
            return None
        machine = self._ready()
        return evaluate_batches(
            machine.scored.model, machine.feed.held_out, self.val.labels, self.compute, exact=False
        )

    def epochs(self, best: Callable[[], Best]) -> Iterator[EpochEnd]:
        """Train; yields after each epoch. `best` is asked for the score to show."""
        self._ready()
        left = self._settings.total_epochs - self._next_epoch
        if left <= 0:
            return
        self._clock = clock = Clock(
            self.compute, self._sides()[self._next_epoch :], len(self.train)
        )
        self._progress.say(clock.announcement)
        with self._progress.stage("training", left * len(self.train), "pictures") as shown:
            while self._next_epoch < self._settings.total_epochs:
                loss = self._train_one(self._next_epoch, shown, clock, best())
                self._next_epoch += 1
                if self.val or self._next_epoch == self._settings.total_epochs:
                    self._settle_norms()
                scored = self.validate()
                self._schedule.after_epoch(scored.loss if scored else loss)
                yield EpochEnd(self._next_epoch, loss, self._schedule.rate, scored)

    def _settle_norms(self) -> None:
        """Before the network is scored or kept: the norms that learned see whole pictures."""
        if self._settings.norms == "frozen":
            return
        self._freezing.train_mode_of_copy(self.kept.model)
        adapt_norms(self.kept, self.train.whole, self.spec, self.compute, seed=self.recipe.seed)

    def _sides(self) -> list[int]:
        """The side of training pictures in each epoch."""
        settings, least_px = self._settings, self.network.backbone.smallest_px
        return [
            training_side(settings, self.spec.size_px, least_px, epoch)
            for epoch in range(settings.total_epochs)
        ]

    @property
    def pictures_per_second(self) -> float | None:
        """How fast this session trained, scoring left out; None: it did not."""
        return self._clock.rate if self._clock else None

    def _ready(self) -> "_Machine":
        """Made when it is first needed: a frozen front runs over every picture once."""
        if self._machine is None:
            settings = self._settings
            if settings.norms == "frozen":
                fold_frozen_norms(self.network.model)
            self._freezing.norms_adapted = True
            feed = make_feed(
                self.network, self.train, self.val, self.spec, self.recipe, self.compute,
                self._progress,
            )  # fmt: skip
            learner = feed.learner(self.network)
            step_parts = StepParts(
                self.network, learner, feed, Mix(self.recipe.augmentation, self._classes),
                self._objective, self._optimizer, self._anchor, self._average, settings.clip_norm,
            )  # fmt: skip
            largest = math.ceil(len(self.train) / self._steps)
            step = TrainingStep(step_parts, self.compute, largest, self._progress)
            captured = CapturedStep(step, self._progress) if self.compute.captures else None
            self._machine = _Machine(feed, learner, feed.learner(self.kept), step, captured)
        return self._machine

    def _train_one(self, epoch: int, shown: Stage, clock: Clock, best: Best) -> float:
        """An epoch's steps; returns its mean loss."""
        losses = EpochLosses(epoch + 1, self._steps, self.compute)
        epochs = self._settings.total_epochs
        for part in self._begin(epoch):
            count = part.stop - part.start
            seen = losses.add(self.step(part), count)
            estimate = clock.after_step(count)
            if estimate:
                self._progress.say(estimate)
            note = "" if seen is None else _note(epoch + 1, epochs, seen, self._schedule.rate, best)
            shown.advance(count, note)
        return losses.mean

    def _begin(self, epoch: int) -> list[slice]:
        """Make ready for an epoch; returns the part of it that each of its steps takes."""
        torch.manual_seed(self.recipe.seed * 100_003 + epoch)
        generator = torch.Generator().manual_seed(self.recipe.seed * 100_003 + epoch)
        machine = self._ready()
        if self._freezing.thaw(epoch) and machine.captured:
            machine.captured.forget()
        order = epoch_order(self.train.labels, self._settings.imbalance, generator)
        # In file order within a step: kinder to pixels that are paged in from disk.
        steps = [np.sort(chosen) for chosen in np.array_split(order, self._steps)]
        machine.feed.begin(epoch, np.concatenate(steps))
        self._freezing.train_mode(machine.learner.model)
        ends = np.cumsum([len(chosen) for chosen in steps]).tolist()
        return [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]

    def endless(self) -> Iterator[Tensor]:
        """Step after step, as in training, with nothing scored or kept; yields each loss."""
        for epoch in itertools.count():
            for part in self._begin(epoch):
                yield self.step(part)

    def scale_rates(self, factor: float) -> None:
        """Multiply the rate of every group of parameters; a schedule may set it again."""
        for group in self._optimizer.param_groups:
            group["lr"] *= factor

    def step(self, part: slice) -> Tensor:
        """One step on a part of the epoch that has begun; returns the loss, on the device."""
        machine = self._ready()
        if self._average:
            self._average.before_step()
        inputs = machine.feed.inputs(part)
        if machine.captured:
            loss = machine.captured(inputs, machine.feed.side_px)
        else:
            loss = machine.step(inputs)
        self._schedule.after_step()
        return loss

    def save_state(self, path: Path, best: Best) -> None:
        """Everything the next epoch needs, written whole or not at all."""
        state = {
            "model": self.network.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "average": self._average.state_dict() if self._average else None,
            "epoch": self._next_epoch,
            "flip": self.recipe.augmentation.flip,
            "best": tuple(best),
        }
        with replacing(path) as file:
            torch.save(state, file)

    def load_state(self, path: Path) -> Best:
        """Continue from `save_state`; returns its `best`. Raises EdgetlError if unusable."""
        try:
            state = torch.load(path, map_location=self.compute.device, weights_only=True)
            self.network.model.load_state_dict(state["model"])
            self.recipe = with_flip(self.recipe, state["flip"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._schedule.load_state_dict(state["schedule"])
            if self._average:
                self._average.load_state_dict(state["average"])
            self._next_epoch = int(state["epoch"])
            loss, top1, epoch, since = state["best"]
            top1 = None if top1 is None else float(top1)
            return Best(float(loss), top1, int(epoch), int(since))
        except Exception as error:  # torch raises many kinds for a damaged or foreign file
            raise EdgetlError(
                f"'{path}' cannot be resumed: {first_line(error)}",
                hint="start a new run in another folder, without --resume.",
            ) from error


def _note(epoch: int, epochs: int, loss: float, rate: float, best: Best) -> str:
    shown = f"epoch {epoch}/{epochs}, loss {loss:.3f}, rate {rate:.1e}"
    return shown if best.top1 is None else f"{shown}, best {best.top1:.1%}"
