"""How the pictures of an epoch are divided into steps."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from edgetl.workstation.training.adaptation.order import paired_steps
from edgetl.workstation.training.setup import TrainingSetup
from edgetl.workstation.training.unlabelled_order import mixed_steps, pictures_per_epoch


class EpochSteps(NamedTuple):
    """The steps of each epoch.

    Attributes:
        pictures: how many pictures an epoch shows.
        number: how many steps it has.
        draw: returns the indices of each step's pictures, int64 [n], by a generator.
    """

    pictures: int
    number: int
    draw: Callable[[torch.Generator], list[NDArray[np.int64]]]


def epoch_steps(setup: TrainingSetup) -> EpochSteps:
    """Divide the pictures of a run, as its recipe says."""
    labels, settings = setup.train.labels, setup.recipe.finetune
    others = len(setup.pictures) - len(labels)
    if setup.adapting:  # `batch` labelled pictures a step, and as many of the other domain
        counted, shown = len(labels), 2 * len(labels)
    else:
        counted = shown = pictures_per_epoch(len(labels), others)
    # A batch norm cannot learn from a batch of one.
    count = max(1, min(math.ceil(counted / settings.batch), counted // 2))
    divide = paired_steps if setup.adapting else mixed_steps
    return EpochSteps(shown, count, partial(divide, labels, others, count, settings.imbalance))
