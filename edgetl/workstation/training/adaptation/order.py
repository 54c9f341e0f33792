"""The order of an epoch that shows as many pictures of another domain as labelled ones."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from edgetl.workstation.training.loss import epoch_order


def paired_steps(
    labels: NDArray[np.int64],
    others: int,
    steps: int,
    imbalance: str,
    generator: torch.Generator,
) -> list[NDArray[np.int64]]:
    """The indices of the pictures of each step: n labelled ones, then n of the other domain.

    Every labelled picture is shown once; those of the other domain as often as that takes.

    Args:
        labels: the labelled pictures' classes, int64 [N]; their indices are 0 to N - 1.
        others: how many pictures the other domain has; their indices are N and following.
        steps: how many steps the epoch has.
        imbalance: as in `epoch_order`.
        generator: decides the order.
    """
    known = epoch_order(labels, imbalance, generator)
    rounds = math.ceil(len(known) / others)
    drawn = [torch.randperm(others, generator=generator).numpy() for _ in range(rounds)]
    other = len(labels) + np.concatenate(drawn)[: len(known)]
    pairs = zip(np.array_split(known, steps), np.array_split(other, steps), strict=True)
    # Sorted, so that memory-mapped pixels are read in file order.
    return [np.concatenate([np.sort(ours), np.sort(theirs)]) for ours, theirs in pairs]
