"""The order of an epoch of pictures with and without labels.

Every picture without a label is shown once. If there are many of them, pictures with labels are
shown several times, so that they are at least a quarter of each batch. Drawn alike from all
pictures, a thousand labels among a hundred thousand pictures would be a third of a picture in a
batch of 32: most steps would know no label, and the labels' loss would be the noise of one picture.
Semi-supervised methods take one labelled picture to one (Xie et al. 2020, "Self-training with
Noisy Student") up to seven others (Sohn et al. 2020, "FixMatch").
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from edgetl.workstation.training.loss import epoch_order

_LEAST_SHARE = 1 / 4


def pictures_per_epoch(labelled: int, unlabelled: int) -> int:
    """How many pictures an epoch shows."""
    return _labelled_shown(labelled, unlabelled) + unlabelled


def mixed_steps(
    labels: NDArray[np.int64],
    unlabelled: int,
    steps: int,
    imbalance: str,
    generator: torch.Generator,
) -> list[NDArray[np.int64]]:
    """The indices of the pictures of each step, sorted within it.

    Args:
        labels: the labelled pictures' classes, int64 [N]; their indices are 0 to N - 1.
        unlabelled: how many pictures have no label; their indices are N and following.
        steps: how many steps the epoch has. Each gets an even share of either kind.
        imbalance: as in `epoch_order`.
        generator: decides the order.
    """
    count = _labelled_shown(len(labels), unlabelled)
    rounds = math.ceil(count / len(labels))
    known = np.concatenate([epoch_order(labels, imbalance, generator) for _ in range(rounds)])
    parts = np.array_split(known[:count], steps)
    if unlabelled:
        others = len(labels) + torch.randperm(unlabelled, generator=generator).numpy()
        # `array_split` gives the first parts one more: reversed, batches differ by one at most.
        pairs = zip(parts, reversed(np.array_split(others, steps)), strict=True)
        parts = [np.concatenate(pair) for pair in pairs]
    return [np.sort(part) for part in parts]


def _labelled_shown(labelled: int, unlabelled: int) -> int:
    least = math.ceil(unlabelled * _LEAST_SHARE / (1 - _LEAST_SHARE))
    return max(labelled, least)
