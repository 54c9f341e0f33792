"""The loss of a step that sees labelled pictures of one domain and unlabelled ones of another."""

import math

import torch
from torch import Tensor

from edgetl.workstation.backbones.build import Network, head_input, training_logits
from edgetl.workstation.recipe import Adapt
from edgetl.workstation.training.adaptation.losses import DomainClassifier, coral, reverse_gradient
from edgetl.workstation.training.batch_loss import BatchLoss, MixedBatch
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.loss import Objective

# How fast the reversed gradient's factor rises: `gamma` in section 5.2 of Ganin et al. 2016.
_STEEPNESS = 10.0


class Adaptation(BatchLoss):
    """The labels' loss, and how far the two domains are apart for the network.

    The second half of each batch is of the other domain. Each domain goes through the network by
    itself, so that batch norm normalises it by its own statistics (Li et al. 2016, "Revisiting
    Batch Normalization For Practical Domain Adaptation").

    Args:
        network: the network that is trained.
        objective: the loss of the labels.
        settings: the recipe's, with a method that trains: "coral" or "adversarial".
        compute: device and precision.
        seed: decides the domain classifier's first weights.

    Attributes:
        beside: the domain classifier; None for "coral".
    """

    beside: DomainClassifier | None = None

    def __init__(
        self, network: Network, objective: Objective, settings: Adapt, compute: Compute, seed: int
    ) -> None:
        super().__init__(objective, compute)
        self._settings = settings
        # A tensor, so that a captured step reads the value of the step that it takes.
        self._factor = torch.zeros((), device=compute.device)
        if settings.method == "adversarial":
            self.beside = DomainClassifier(network.head().in_features, seed).to(compute.device)

    def own(self, count: int) -> int:
        return count // 2

    def before_step(self, share_done: float) -> None:
        self._factor.fill_(self._settings.weight * ramp(share_done))

    def __call__(self, learner: Network, batch: MixedBatch) -> Tensor:
        """The mean loss of a batch, float32 []; see `BatchLoss`."""
        own, targets = batch.own, batch.targets[: batch.own]
        with self._compute.autocast(), head_input(learner) as features:
            heads = training_logits(learner, batch.pictures[:own])
            others = training_logits(learner, batch.pictures[own:])
        losses = [head.weight * self._objective(head.logits, targets) for head in heads]
        if self.beside is None:
            apart = coral(heads[0].logits, others[0].logits)
            losses.append(self._settings.weight * apart)
        else:
            ours, theirs = (reverse_gradient(seen, self._factor) for seen in features)
            losses.append(self.beside.loss(ours, theirs))
        return torch.stack(losses).sum()


def ramp(share: float) -> float:
    """From 0 to nearly 1 as training advances from 0 to 1 (Ganin et al. 2016, section 5.2).

    At the start the domain classifier's gradients are noise.
    """
    return 2 / (1 + math.exp(-_STEEPNESS * share)) - 1
