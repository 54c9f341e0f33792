"""The loss that a training step lowers."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgetl.workstation.backbones.build import Network, training_logits
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.loss import Objective


class MixedBatch(NamedTuple):
    """Augmented and mixed pictures, which a loss is computed of.

    Attributes:
        pictures: the learner's input, float32 [N, 3, side, side], or what a frozen front makes of
            it.
        targets: from `BatchLoss.weighed`, float [N, classes].
        own: how many of the rows, the first ones, are of the domain of the labels.
        for_teacher: the pictures at the teacher's side; None: it answers on `pictures`.
    """

    pictures: Tensor
    targets: Tensor
    own: int
    for_teacher: Tensor | None = None

    def part(self, first: int, parts: int) -> "MixedBatch":
        """One of `parts` parts: every `parts`-th row from `first` on."""
        rows = slice(first, None, parts)
        larger = self.for_teacher if self.for_teacher is None else self.for_teacher[rows]
        own = len(range(first, self.own, parts))
        return MixedBatch(self.pictures[rows], self.targets[rows], own, larger)


class BatchLoss:
    """The loss of a batch by its labels alone; runs with a teacher or a second domain extend it.

    Attributes:
        beside: what is trained beside the network; None: nothing.
    """

    beside: nn.Module | None = None

    def __init__(self, objective: Objective, compute: Compute) -> None:
        self._objective, self._compute = objective, compute

    def __call__(self, learner: Network, batch: MixedBatch) -> Tensor:
        """The mean loss of a batch or of a part of it, float32 [].

        `learner` is in training mode.
        """
        with self._compute.autocast():
            heads = training_logits(learner, batch.pictures)
        losses = [head.weight * self._objective(head.logits, batch.targets) for head in heads]
        return torch.stack(losses).sum()

    def own(self, count: int) -> int:
        """How many of a batch's `count` rows, the first ones, are of the domain of the labels."""
        return count

    def weighed(self, targets: Tensor) -> Tensor:
        """The targets of a whole batch, float [N, classes], each row with its weight."""
        return targets

    def before_step(self, share_done: float) -> None:
        """Prepare a step; `share_done` of the whole run's steps, 0 to 1, were taken before it."""

    def add_to(self, optimizer: torch.optim.Optimizer, rate: float, weight_decay: float) -> None:
        """Let the optimiser train what is beside the network."""
        if self.beside:
            group = {"params": list(self.beside.parameters()), "lr": rate,
                     "weight_decay": weight_decay}  # fmt: skip
            optimizer.add_param_group(group)

    def drop_gradients(self) -> None:
        """Free the memory of the gradients of what is beside the network."""
        if self.beside:
            self.beside.zero_grad()

    def state_dict(self) -> dict[str, Tensor]:
        """The weights of what is beside the network; empty if nothing is."""
        return self.beside.state_dict() if self.beside else {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a result of `state_dict`."""
        if self.beside:
            self.beside.load_state_dict(state)
