"""Fine-tuning by gradient steps, with each epoch validated and resumable."""

import itertools
import math
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from edgetl.core.progress import Stage
from edgetl.workstation.backbones.build import Network
from edgetl.workstation.recipe import Augment
from edgetl.workstation.training.batch_norm import recalibrate_batch_norm
from edgetl.workstation.training.batches import Batches, make_batches
from edgetl.workstation.training.cuda_graph import CapturedStep
from edgetl.workstation.training.ema import WeightAverage
from edgetl.workstation.training.epoch_losses import EpochLosses
from edgetl.workstation.training.epoch_steps import epoch_steps
from edgetl.workstation.training.forward_patches import fold_batch_norm
from edgetl.workstation.training.freezing import Freezing
from edgetl.workstation.training.mixup import Mix
from edgetl.workstation.training.optimizer import (
    Anchor,
    Schedule,
    load_optimizer,
    make_optimizer,
    put_rates_on,
)
from edgetl.workstation.training.progressive_resize import training_side
from edgetl.workstation.training.resume import Best, ResumeState, unusable_named
from edgetl.workstation.training.run_loss import run_loss
from edgetl.workstation.training.scoring import Evaluation, evaluate_batches
from edgetl.workstation.training.setup import TrainingSetup
from edgetl.workstation.training.shared_batches import SharedBatches, require_enough_pictures
from edgetl.workstation.training.speed import Clock
from edgetl.workstation.training.step import StepParts, TrainingStep

# Added to the seed of an epoch for each rank, so that it is not that of another epoch.
_BETWEEN_RANKS = 1_000_003


class EpochEnd(NamedTuple):
    """The result of an epoch.

    Attributes:
        epoch: from 1.
        loss: mean training loss.
        rate: the learning rate at its end.
        val: its evaluation on the validation part; None if there is no such part.
    """

    epoch: int
    loss: float
    rate: float
    val: Evaluation | None


class StepMachine(NamedTuple):
    """What training steps and validation run.

    Attributes:
        batches: the training and validation batches.
        learner, scored: the parts of the network, and of its averaged copy, that take the batches.
        step: takes a training step.
        captured: takes the same steps as CUDA graphs; None without a CUDA GPU.
    """

    batches: Batches
    learner: Network
    scored: Network
    step: TrainingStep
    captured: CapturedStep | None


class Trainer:
    """Fine-tunes a prepared network, from its start or from the state of an interrupted run.

    Everything random in an epoch is seeded by (seed, epoch), so a resumed run takes the same
    steps as an uninterrupted one.

    Args:
        setup: the run's setup, with a prepared network (`preparation.prepare`).
        augment: the augmentation of training pictures, with the mirror images decided.
        state: what to resume from; None starts with the network as given.

    Raises EdgetlError if the state does not fit the network.
    """

    def __init__(
        self, setup: TrainingSetup, augment: Augment, state: ResumeState | None = None
    ) -> None:
        self.setup, self.augment = setup, augment
        self._settings = settings = setup.recipe.finetune
        network, compute = setup.network, setup.compute
        self._classes = network.classes()
        self._freezing = Freezing(network, settings)
        self._loss, self._steps = run_loss(setup), epoch_steps(setup)
        require_enough_pictures(len(setup.train), self._steps.number, compute.ranks)
        self._optimizer = make_optimizer(network, settings, capturable=compute.captures)
        self._loss.add_to(self._optimizer, settings.head_rate, settings.weight_decay)
        self._schedule = Schedule(self._optimizer, settings, self._steps.number)
        if compute.captures:
            put_rates_on(compute.device, self._optimizer)
        self._anchor = Anchor(network, settings.l2sp)
        self._average = WeightAverage(network.model, settings.ema) if settings.ema else None
        self._next_epoch = self._taken = 0  # epochs and steps
        self._clock: Clock | None = None
        if state:
            with unusable_named(state.path):
                self._restore(state)

    @property
    def network(self) -> Network:
        """The network that is trained."""
        return self.setup.network

    @property
    def averaged(self) -> Network:
        """The network that is scored and saved: the moving average if the recipe has one."""
        if self._average is None:
            return self.network
        return Network(self._average.model, self.network.backbone)

    @property
    def epochs_done(self) -> int:
        """How many epochs the network has been trained for."""
        return self._next_epoch

    @property
    def total_epochs(self) -> int:
        """How many epochs the recipe has."""
        return self._settings.total_epochs

    @property
    def pictures_per_second(self) -> float | None:
        """Training speed of this session (see `Clock.rate`); None if it did not train."""
        return self._clock.rate if self._clock else None

    def validate(self) -> Evaluation | None:
        """Evaluate on the validation part; None if there is none.

        Uses the fastest precision: the result is for choosing epochs, not for reports.
        """
        if self.setup.val is None:
            return None
        machine = self.machine
        return evaluate_batches(
            machine.scored.model,
            machine.batches.held_out,
            self.setup.val.labels,
            self.setup.compute,
            exact=False,
        )

    def epochs(self, best: Callable[[], Best]) -> Iterator[EpochEnd]:
        """Train; yields the result of each epoch. `best` returns the best so far, to show."""
        setup, left = self.setup, self.total_epochs - self._next_epoch
        if left <= 0:
            return
        pictures = self._steps.pictures
        _ = self.machine  # a frozen front runs now, before the clock starts
        self._clock = clock = Clock(setup.compute, self._sides()[self._next_epoch :], pictures)
        setup.progress.say(clock.announcement)
        with setup.progress.stage("training", left * pictures, "pictures") as shown:
            while self._next_epoch < self.total_epochs:
                loss = self._train_epoch(self._next_epoch, shown, clock, best())
                self._next_epoch += 1
                if setup.val or self._next_epoch == self.total_epochs:
                    self._recalibrate_batch_norm()
                scored = self.validate()
                self._schedule.after_epoch(scored.loss if scored else loss)
                yield EpochEnd(self._next_epoch, loss, self._schedule.rate, scored)

    def endless(self) -> Iterator[Tensor]:
        """Take training steps without end or validation; yields each loss, float32 []."""
        for epoch in itertools.count():
            for part in self._begin(epoch):
                yield self.step(part)

    def scale_rates(self, factor: float) -> None:
        """Multiply the rate of every parameter group; a schedule may overwrite it."""
        for group in self._optimizer.param_groups:
            group["lr"] *= factor

    def step(self, part: slice) -> Tensor:
        """Take a step on a slice of the current epoch; returns the loss, on the device."""
        machine = self.machine
        if self._average:
            self._average.before_step()
        self._loss.before_step(self._taken / (self._steps.number * max(1, self.total_epochs)))
        self._taken += 1
        inputs = machine.batches.inputs(part)
        if machine.captured:
            loss = machine.captured(inputs, machine.batches.side_px)
        else:
            loss = machine.step(inputs, part.stop - part.start)
        self._schedule.after_step()
        return loss

    def state(self, path: Path, best: Best) -> ResumeState:
        """Everything that the next epoch depends on, to be written to `path`."""
        return ResumeState(
            path,
            self.network.model.state_dict(),
            self._optimizer.state_dict(),
            self._schedule.state_dict(),
            self._average.state_dict() if self._average else None,
            self._next_epoch,
            self.augment.flip,
            best,
            self._loss.state_dict(),
        )

    @cached_property
    def machine(self) -> StepMachine:
        """Made on first use, because a frozen front then runs over every picture."""
        setup, settings = self.setup, self._settings
        if settings.norms == "frozen":
            fold_batch_norm(self.network.model)
        ranks = setup.compute.ranks
        batches = make_batches(setup, self.augment)
        mix = Mix(
            self.augment,
            self._classes,
            paired=ranks.several,
            apart=setup.adapting is not None,
        )
        if ranks.several:
            batches = SharedBatches(batches, ranks, mixed=mix.mixes)
            if setup.compute.gpu:
                setup.progress.say("with several processes, steps are not captured as CUDA graphs")
            elif setup.compute.device.type == "cpu" and ranks.local_count > 1:
                setup.progress.say(
                    "one process uses all cores of a CPU; several on one machine are slower"
                )
        learner = batches.learner(self.network)
        parts = StepParts(
            self.network,
            learner,
            batches,
            mix,
            self._loss,
            self._optimizer,
            self._anchor,
            self._average,
            settings.clip_norm,
        )
        largest = math.ceil(self._steps.pictures / self._steps.number)
        step = TrainingStep(parts, setup.compute, largest, setup.progress)
        captured = CapturedStep(step, setup.progress) if setup.compute.captures else None
        return StepMachine(batches, learner, batches.learner(self.averaged), step, captured)

    def _restore(self, state: ResumeState) -> None:
        self.network.model.load_state_dict(state.model)
        load_optimizer(self._optimizer, state.optimizer)
        self._schedule.load_state_dict(state.schedule)
        if self._average and state.average is not None:
            self._average.load_state_dict(state.average)
        self._loss.load_state_dict(state.beside)
        self._next_epoch = state.epoch

    def _train_epoch(self, epoch: int, shown: Stage, clock: Clock, best: Best) -> float:
        """Take an epoch's steps; returns their mean loss."""
        losses = EpochLosses(epoch + 1, self._steps.number, self.setup.compute)
        for part in self._begin(epoch):
            count = part.stop - part.start
            loss = losses.add(self.step(part), count)
            estimate = clock.after_step(count)
            if estimate:
                self.setup.progress.say(estimate)
            note = ""
            if loss is not None:
                note = _note(epoch + 1, self.total_epochs, loss, self._schedule.rate, best)
            shown.advance(count, note)
        return losses.mean

    def _begin(self, epoch: int) -> list[slice]:
        """Prepare an epoch; returns the slice of its pictures that each step takes."""
        seed = self.setup.recipe.seed * 100_003 + epoch
        # Dropout and RandAugment draw anew in each process.
        torch.manual_seed(seed + self.setup.compute.ranks.rank * _BETWEEN_RANKS)
        generator = torch.Generator().manual_seed(seed)
        machine = self.machine
        if self._freezing.thaw(epoch) and machine.captured:
            machine.captured.forget()
        self._taken = epoch * self._steps.number
        steps = self._steps.draw(generator)
        machine.batches.begin(epoch, np.concatenate(steps))
        self._freezing.train_mode(machine.learner.model)
        ends = np.cumsum([len(chosen) for chosen in steps]).tolist()
        return [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]

    def _recalibrate_batch_norm(self) -> None:
        """Re-estimate the statistics of trained norms on whole pictures of where it will run."""
        if self._settings.norms == "frozen":
            return
        setup = self.setup
        pictures = setup.adapting.target if setup.adapting else setup.train.whole
        self._freezing.train_mode_of_copy(self.averaged.model)
        recalibrate_batch_norm(
            self.averaged, pictures, setup.spec, setup.compute, seed=setup.recipe.seed
        )

    def _sides(self) -> list[int]:
        """The side of training pictures in each epoch, in px."""
        full_px, least_px = self.setup.spec.size_px, self.network.backbone.smallest_px
        return [
            training_side(self._settings, full_px, least_px, epoch)
            for epoch in range(self.total_epochs)
        ]


def _note(epoch: int, epochs: int, loss: float, rate: float, best: Best) -> str:
    shown = f"epoch {epoch}/{epochs}, loss {loss:.3f}, rate {rate:.1e}"
    return shown if best.top1 is None else f"{shown}, best {best.top1:.1%}"
