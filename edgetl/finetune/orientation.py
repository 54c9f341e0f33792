"""Whether pictures have an up: if the probe knows them turned as well as upright, they do not.

Mirrored and turned pictures then are more of the same kind, and training learns from them. Asked
of data instead of the user, as Benton et al. 2020 do ("Learning Invariances in Neural Networks
from Training Data"), but before training and by a measurement.
"""

from collections.abc import Callable
from typing import Literal

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
) -> Flip:
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
    upside down; "horizontal" otherwise, and where there are too few pictures to tell.
    """
    asked = np.arange(0, len(train), _FOLD)[:_AT_MOST]
    if len(asked) < _TOO_FEW:
        return "horizontal"
    fitted = np.setdiff1d(np.arange(len(train)), asked)
    weight, bias = fit_linear(seen[fitted], train.labels[fitted], probe, class_weights, compute)
    labels = torch.from_numpy(train.labels[asked])

    def right(features: Tensor) -> float:
        said = (features.to(weight.device) @ weight.T + bias).argmax(1).cpu()
        return float((said == labels).float().mean())

    upright = right(seen[asked])

    def keeps(turn: Turn) -> bool:
        turned = cached_features(network, train, spec, compute, Silent(), asked, turn)
        return upright - right(turned) <= _LOST

    if not keeps(_upside_down):
        return "horizontal"
    return "any" if keeps(_quarter_turned) else "both"
