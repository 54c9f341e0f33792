"""One training step: a function of tensors only, which changes the network in place."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgetl.core.errors import EdgetlError, first_line
from edgetl.core.progress import Progress
from edgetl.workstation.backbones.build import Network
from edgetl.workstation.training.batch_loss import BatchLoss, MixedBatch
from edgetl.workstation.training.batches import Batches, StepInputs
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.distributed.gradients import add_up_gradients
from edgetl.workstation.training.ema import WeightAverage
from edgetl.workstation.training.mixup import Mix
from edgetl.workstation.training.optimizer import Anchor
from edgetl.workstation.training.random_draws import Draws


class StepParts(NamedTuple):
    """What a training step consists of.

    Attributes:
        network: the whole network, whose gradients are clipped to `clip_norm` (0: never).
        learner: the part of it that takes the batches.
        average: the network's moving average; None if the recipe has none.
    """

    network: Network
    learner: Network
    batches: Batches
    mix: Mix
    loss: BatchLoss
    optimizer: torch.optim.Optimizer
    anchor: Anchor
    average: WeightAverage | None
    clip_norm: float


class TrainingStep:
    """Batch, forward and backward pass, clipping, optimiser and average.

    A batch that is too large for the device's memory is processed in parts, whose gradients are
    added up.

    Attributes:
        at_once: how many pictures are processed together.
    """

    def __init__(
        self, parts: StepParts, compute: Compute, at_once: int, progress: Progress
    ) -> None:
        self._parts, self._compute, self._progress = parts, compute, progress
        self.at_once = at_once

    def __call__(self, inputs: StepInputs, whole: int | None = None) -> Tensor:
        """Take the step; returns the mean loss, float32 [], still on the device.

        `whole`: how many pictures the step has in all processes together; None: there is only one.
        Raises EdgetlError if a single picture does not fit in the device's memory, or a process's
        share of a step.
        """
        while True:
            try:
                loss = self._leave_gradients(inputs, whole)
                break
            except torch.OutOfMemoryError as error:
                if self._compute.ranks.several:  # the others are already waiting for this step
                    raise _share_too_large(len(inputs.labels), error) from error
                self.at_once = _halved(min(self.at_once, len(inputs.labels)), error)
            # Not in the handler: the error keeps the failed pass's tensors in memory.
            torch.cuda.empty_cache()
            self._progress.say(
                f"out of GPU memory: batches now go through {self.at_once} at a time; "
                "their gradients are added up"
            )
        self._apply_gradients()
        return loss

    def take(self, inputs: StepInputs) -> Tensor:
        """The same as `__call__`, in one attempt. Raises torch.OutOfMemoryError."""
        loss = self._leave_gradients(inputs)
        self._apply_gradients()
        return loss

    def drop_gradients(self) -> None:
        """Free the gradients' memory."""
        self._parts.network.model.zero_grad()
        self._parts.loss.drop_gradients()

    def _leave_gradients(self, inputs: StepInputs, whole: int | None = None) -> Tensor:
        """Compute the loss and the parameters' gradients, of all processes; returns the loss."""
        parts, draws = self._parts, Draws(inputs.numbers)
        batch = self._mixed(inputs, draws)
        self.drop_gradients()
        count = len(batch.pictures)
        splits = math.ceil(count / self.at_once)
        # Every n-th picture: batches are in file order, so neighbours are often of one class.
        shares = [self._add_part(batch.part(i, splits), whole or count) for i in range(splits)]
        loss = torch.stack(shares).sum()
        return add_up_gradients(parts.network.model.parameters(), loss, self._compute.ranks)

    def _mixed(self, inputs: StepInputs, draws: Draws) -> MixedBatch:
        parts, labels = self._parts, inputs.labels
        pictures, targets = parts.mix(parts.batches.batch(inputs.pictures, draws), labels, draws)
        larger = parts.batches.teacher_batch(inputs.pictures, draws)
        if larger is not None:
            larger, _ = parts.mix(larger, labels, draws)
        own = parts.loss.own(len(pictures))
        return MixedBatch(pictures, parts.loss.weighed(targets), own, larger)

    def _apply_gradients(self) -> None:
        parts = self._parts
        parts.anchor.add_gradient()
        if parts.clip_norm:
            nn.utils.clip_grad_norm_(
                parts.network.model.parameters(), parts.clip_norm, foreach=True
            )
        parts.optimizer.step()
        if parts.average:
            parts.average.update()

    def _add_part(self, part: MixedBatch, whole: int) -> Tensor:
        """Add a part's gradients; returns its share of the mean loss over `whole` pictures."""
        share = self._parts.loss(self._parts.learner, part) * (len(part.pictures) / whole)
        share.backward()
        return share.detach()


def _share_too_large(pictures: int, error: torch.OutOfMemoryError) -> EdgetlError:
    return EdgetlError(
        f"The GPU has no memory for a share of {pictures} pictures: {first_line(error)}",
        hint="use more processes, a smaller --set finetune.batch=..., or a smaller --image-size.",
    )


def _halved(at_once: int, error: torch.OutOfMemoryError) -> int:
    if at_once <= 1:
        raise EdgetlError(
            f"The GPU has no memory for one picture: {first_line(error)}",
            hint="use a smaller --image-size or --backbone, or free the GPU.",
        ) from error
    return at_once // 2
