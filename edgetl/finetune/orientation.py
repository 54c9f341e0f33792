"""Whether pictures have an up: if the probe knows them turned as well as upright, they do not.

Mirrored and turned pictures then are more of the same kind, and training learns from them. Asked
of data instead of the user, as Benton et al. 2020 do ("Learning Invariances in Neural Networks
from Training Data"), but before training and by a measurement.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from edgetl.backbones.build import Network
from edgetl.core.preprocess import Preprocess
from edgetl.core.progress import Silent
from edgetl.core.recipe import Probe
from edgetl.finetune.compute import Compute
from edgetl.finetune.pixels import PixelSet
from edgetl.finetune.probe import cached_features, fit_linear

Flip = Literal["horizontal", "both", "any"]
Turn = Callable[[Tensor], Tensor]

# Measured with MobileNetV2's probe at 160 px: waste on a table lost 0 points upside down and 2.7
# quarter turned, aerial scenes 1.4 and 0.7.
_LOST = 0.03
_FOLD = 5  # every fifth training picture is asked
_AT_MOST = 1000
_TOO_FEW = 50


class FoundFlips(NamedTuple):
    """Which mirror images to learn from, and why."""

    flips: Flip
    why: str


def _upside_down(batch: Tensor) -> Tensor:
    return batch.flip(2)


def _quarter_turned(batch: Tensor) -> Tensor:
    return batch.rot90(1, (2, 3))


def find_flips(
    network: Network,
    train: PixelSet,
    seen: Tensor,
    spec: Preprocess,
    probe: Probe,
    class_weights: Tensor,
    compute: Compute,
) -> FoundFlips:
    """Fit the probe on four fifths of the training pictures and ask it of the rest, turned.

    Args:
        network: as it is before training.
        train: N pictures.
        seen: their features, float32 [N, features].
        spec: the network's preprocessing.
        probe: how it is fitted.
        class_weights: float32 [classes].
        compute: device and precision.

    Returns "any" where it loses at most 3 points upside down and quarter turned, "both" where only
    upside down; "horizontal" otherwise, and where there are too few pictures to tell; and why.
    """
    asked = np.arange(0, len(train), _FOLD)[:_AT_MOST]
    if len(asked) < _TOO_FEW:
        return FoundFlips("horizontal", f"{len(train)} pictures are too few to tell more")
    fitted = np.setdiff1d(np.arange(len(train)), asked)
    weight, bias = fit_linear(seen[fitted], train.labels[fitted], probe, class_weights, compute)
    labels = torch.from_numpy(train.labels[asked])

    def right(features: Tensor) -> float:
        said = (features.to(weight.device) @ weight.T + bias).argmax(1).cpu()
        return float((said == labels).float().mean())

    upright = right(seen[asked])

    def turned(turn: Turn) -> float:
        return right(cached_features(network, train, spec, compute, Silent(), asked, turn))

    upside_down = turned(_upside_down)
    why = f"the probe knows {upright:.1%} upright, {upside_down:.1%} upside down"
    if upright - upside_down > _LOST:
        return FoundFlips("horizontal", why)
    quarter = turned(_quarter_turned)
    why = f"{why}, {quarter:.1%} quarter turned"
    return FoundFlips("both" if upright - quarter > _LOST else "any", why)
