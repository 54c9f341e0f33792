"""The loss that a training step lowers."""

import torch
from torch import Tensor, nn

from edgetl.workstation.backbones.build import Network, training_logits
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.loss import Objective


class BatchLoss:
    """The loss of a batch by its labels alone; runs with a teacher or a second domain extend it.

    Attributes:
        beside: what is trained beside the network; None: nothing.
    """

    beside: nn.Module | None = None

    def __init__(self, objective: Objective, compute: Compute) -> None:
        self._objective, self._compute = objective, compute

    def __call__(self, learner: Network, batch: Tensor, targets: Tensor, own: int) -> Tensor:
        """The mean loss of a batch or of a part of it, float32 [].

        Args:
            learner: in training mode.
            batch: its input, float32 [N, 3, side, side], or what a frozen front makes of it.
            targets: from `weighed`, float [N, classes].
            own: how many of the rows, the first ones, are of the domain of the labels.
        """
        with self._compute.autocast():
            heads = training_logits(learner, batch)
        losses = [head.weight * self._objective(head.logits, targets) for head in heads]
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
