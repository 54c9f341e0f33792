"""Which mirror images to train on: those that the probe classifies as well as upright pictures.

Such pictures have no fixed orientation, so mirrored and turned copies are valid training pictures.
The data decide this instead of the user, as in Benton et al. 2020 ("Learning Invariances in Neural
Networks from Training Data"), but before training and by a measurement.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from edgetl.core.progress import Silent
from edgetl.workstation.training.linear_probe import cached_features, fit_linear
from edgetl.workstation.training.setup import TrainingSetup

Flip = Literal["horizontal", "both", "any"]
Turn = Callable[[Tensor], Tensor]

# The largest accepted loss of accuracy. Measured with MobileNetV2's probe at 160 px: waste on a
# table lost 0 points upside down and 2.7 quarter turned, aerial scenes 1.4 and 0.7.
_LOST = 0.03
_FOLD = 5  # every fifth training picture is evaluated
_AT_MOST = 1000
_TOO_FEW = 50


class FoundFlips(NamedTuple):
    """Which mirror images to train on, and why."""

    flips: Flip
    why: str


def _upside_down(batch: Tensor) -> Tensor:
    return batch.flip(2)


def _quarter_turned(batch: Tensor) -> Tensor:
    return batch.rot90(1, (2, 3))


def find_flips(setup: TrainingSetup, features: Tensor, class_weights: Tensor) -> FoundFlips:
    """Fit the probe on four fifths of the training pictures and evaluate it on the rest, turned.

    Args:
        setup: the run's setup, with the network as before training.
        features: of its N training pictures, float32 [N, features].
        class_weights: float32 [classes].

    Returns "any" if the probe loses at most 3 points upside down and quarter turned, "both" if
    only upside down, "horizontal" otherwise and if there are too few pictures; and the reason.
    """
    train, compute = setup.train.whole, setup.compute
    tested = np.arange(0, len(train), _FOLD)[:_AT_MOST]
    if len(tested) < _TOO_FEW:
        return FoundFlips("horizontal", f"{len(train)} pictures are too few to tell more")
    fitted = np.setdiff1d(np.arange(len(train)), tested)
    weight, bias = fit_linear(
        features[fitted], train.labels[fitted], setup.recipe.probe, class_weights, compute
    )
    labels = torch.from_numpy(train.labels[tested])

    def top1(turned_features: Tensor) -> float:
        predictions = (turned_features.to(weight.device) @ weight.T + bias).argmax(1).cpu()
        return float((predictions == labels).float().mean())

    upright = top1(features[tested])

    def turned(turn: Turn) -> float:
        turned_features = cached_features(
            setup.network, train, setup.spec, compute, Silent(), tested, turn
        )
        return top1(turned_features)

    upside_down = turned(_upside_down)
    why = f"the probe knows {upright:.1%} upright, {upside_down:.1%} upside down"
    if upright - upside_down > _LOST:
        return FoundFlips("horizontal", why)
    quarter = turned(_quarter_turned)
    why = f"{why}, {quarter:.1%} quarter turned"
    return FoundFlips("both" if upright - quarter > _LOST else "any", why)
