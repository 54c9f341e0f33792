"""The training loss, and how it and the order of pictures handle imbalanced classes."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from numpy.typing import NDArray
from torch import Tensor

from edgetl.workstation.recipe import FineTune

_UNEVEN = 1.5


class Objective:
    """The loss of a batch of logits against class probabilities.

    Args:
        labels: int64 [N], the training pictures' classes.
        classes: how many there are.
        settings: the recipe's fine-tuning settings.
        device: the device of the logits.
    """

    def __init__(
        self, labels: NDArray[np.int64], classes: int, settings: FineTune, device: torch.device
    ) -> None:
        self.weights = class_weights(labels, classes, settings.imbalance).to(device)
        self._smoothing = settings.label_smoothing
        shift = torch.zeros(classes)
        if settings.imbalance == "logit-adjustment":
            shift = torch.from_numpy(_shares(labels, classes)).float().log()
        self._shift = shift.to(device)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy of a batch, float32 [].

        Args:
            logits: float [N, classes].
            targets: float [N, classes], each row a distribution, or a multiple of one: a row of
                zeros adds nothing to the loss.
        """
        # Not by torch's label smoothing, which would add to rows of zeros, too.
        even = targets.sum(1, keepdim=True) * (self._smoothing / targets.shape[1])
        smoothed = targets * (1 - self._smoothing) + even
        return F.cross_entropy(logits.float() + self._shift, smoothed, self.weights)


def class_weights(labels: NDArray[np.int64], classes: int, imbalance: str) -> Tensor:
    """The weight of each class in the loss, float32 [classes], with mean 1 over the pictures.

    "weights": the inverse of each class's share. "auto": its square root, and only where the
    largest class has over 1.5 times the smallest; the full inverse overfits the rarest class.
    """
    counts = np.bincount(labels, minlength=classes).clip(min=1)
    if imbalance == "weights":
        weights = 1 / counts
    elif imbalance == "auto" and counts.max() > _UNEVEN * counts.min():
        weights = 1 / np.sqrt(counts)
    else:
        return torch.ones(classes)
    weights = weights * counts.sum() / (weights * counts).sum()
    return torch.tensor(weights, dtype=torch.float32)


def epoch_order(
    labels: NDArray[np.int64], imbalance: str, generator: torch.Generator
) -> NDArray[np.int64]:
    """The indices of an epoch's pictures in training order, int64 [N].

    Every picture once; or, for "sampling", drawn with replacement so that every class is
    equally frequent.
    """
    if imbalance != "sampling":
        return torch.randperm(len(labels), generator=generator).numpy()
    chances = torch.from_numpy(1 / np.bincount(labels)[labels])
    return torch.multinomial(chances, len(labels), replacement=True, generator=generator).numpy()


def _shares(labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    counts = np.bincount(labels, minlength=classes).clip(min=1)
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares
