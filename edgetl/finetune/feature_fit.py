"""How well features fit the classes before training, and how fast the backbone should learn.

Where a linear probe has nearly every picture right, fine-tuning has little to gain and pretrained
features to lose (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features"); where it has a
third of them wrong, small steps leave the features as unfit as they were.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgetl.core.recipe import LEAST_RATE, Probe
from edgetl.finetune.compute import Compute
from edgetl.finetune.probe import fit_linear

_FOLDS = 5
# The backbone's peak rate for each part of the pictures that the probe has wrong, and its bounds.
_RATE_PER_ERROR, _HIGHEST_RATE = 3e-3, 1e-3


def probe_error(
    seen: Tensor,
    labels: NDArray[np.int64],
    probe: Probe,
    class_weights: Tensor,
    compute: Compute,
    seed: int,
) -> float:
    """The part of the training pictures, 0 to 1, that a probe fitted to the others has wrong.

    By cross-validation in five folds, so that no held-out picture is used.

    Args:
        seen: the pictures' features, float32 [N, features].
        labels: their classes, int64 [N].
        probe: how it is fitted.
        class_weights: float32 [classes].
        compute: device and precision.
        seed: of the folds.
    """
    folds = np.array_split(np.random.default_rng(seed).permutation(len(labels)), _FOLDS)
    wrong = 0
    for held_out in folds:
        fitted = np.setdiff1d(np.arange(len(labels)), held_out)
        if not len(held_out) or len(fitted) < 2:  # a handful of pictures in all
            continue
        weight, bias = fit_linear(seen[fitted], labels[fitted], probe, class_weights, compute)
        answers = (seen[held_out].to(weight.device) @ weight.T + bias).argmax(1).cpu()
        wrong += int((answers != torch.from_numpy(labels[held_out])).sum())
    return wrong / len(labels)


def rate_for(error: float) -> float:
    """The backbone's peak learning rate for a probe's error, 0 to 1."""
    return min(max(_RATE_PER_ERROR * error, LEAST_RATE), _HIGHEST_RATE)
