"""The loss of a step that sees labelled pictures of one domain and unlabelled ones of another."""

import math

import torch
from torch import Tensor

from edgetl.workstation.backbones.build import Network, head_input, training_logits
from edgetl.workstation.recipe import Adapt
from edgetl.workstation.training.adaptation.losses import DomainClassifier, coral, reverse_gradient
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.loss import Objective

# How fast the reversed gradient's factor rises: `gamma` in section 5.2 of Ganin et al. 2016.
_STEEPNESS = 10.0


class Adaptation:
    """The labels' loss, and how far the two domains are apart for the network.

    Each domain goes through the network by itself, so that batch norm normalises it by its own
    statistics (Li et al. 2016, "Revisiting Batch Normalization For Practical Domain Adaptation").

    Args:
        network: the network that is trained.
        objective: the loss of the labels.
        settings: the recipe's, with a method that trains: "coral" or "adversarial".
        compute: device and precision.
        steps: how many steps the whole run has.
        seed: decides the domain classifier's first weights.
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        settings: Adapt,
        compute: Compute,
        steps: int,
        seed: int,
    ) -> None:
        self._objective, self._settings, self._compute = objective, settings, compute
        self._steps, self._done = steps, 0
        # A tensor, so that a captured step reads the value of the step that it takes.
        self._factor = torch.zeros((), device=compute.device)
        self._classifier: DomainClassifier | None = None
        if settings.method == "adversarial":
            classifier = DomainClassifier(network.head().in_features, seed)
            self._classifier = classifier.to(compute.device)

    def begin(self, done: int) -> None:
        """Prepare an epoch before which `done` steps were taken."""
        self._done = done

    def before_step(self) -> None:
        """Set the strength of the next step."""
        share = self._done / self._steps
        self._factor.fill_(self._settings.weight * ramp(share))
        self._done += 1

    def __call__(self, learner: Network, source: Tensor, target: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch, float32 [].

        Args:
            learner: in training mode.
            source: labelled pictures as the network takes them, float32 [N, 3, side, side].
            target: unlabelled ones of the other domain, float32 [M, 3, side, side].
            targets: the labelled pictures' classes, float [N, classes].
        """
        with self._compute.autocast(), head_input(learner) as features:
            heads = training_logits(learner, source)
            others = training_logits(learner, target)
        losses = [head.weight * self._objective(head.logits, targets) for head in heads]
        if self._classifier is None:
            apart = coral(heads[0].logits, others[0].logits)
            losses.append(self._settings.weight * apart)
        else:
            ours, theirs = (reverse_gradient(seen, self._factor) for seen in features)
            losses.append(self._classifier.loss(ours, theirs))
        return torch.stack(losses).sum()

    def add_to(self, optimizer: torch.optim.Optimizer, rate: float, weight_decay: float) -> None:
        """Let the optimiser train the domain classifier, if there is one."""
        if self._classifier:
            optimizer.add_param_group(
                {
                    "params": list(self._classifier.parameters()),
                    "lr": rate,
                    "weight_decay": weight_decay,
                }
            )

    def drop_gradients(self) -> None:
        """Free the memory of the domain classifier's gradients."""
        if self._classifier:
            self._classifier.zero_grad()

    def state_dict(self) -> dict[str, Tensor]:
        """The domain classifier's weights; empty without one."""
        return self._classifier.state_dict() if self._classifier else {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a result of `state_dict`."""
        if self._classifier:
            self._classifier.load_state_dict(state)


def ramp(share: float) -> float:
    """From 0 to nearly 1 as training advances from 0 to 1 (Ganin et al. 2016, section 5.2).

    At the start the domain classifier's gradients are noise.
    """
    return 2 / (1 + math.exp(-_STEEPNESS * share)) - 1
