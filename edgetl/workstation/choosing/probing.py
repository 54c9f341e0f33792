"""Estimating a candidate's accuracy without training it: a linear probe, cross-validated.

How well a linear classifier of frozen features does ranks networks much as fine-tuning does
(Kornblith et al. 2019, "Do Better ImageNet Models Transfer Better?", section 4).
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgetl.core.progress import Progress, Silent
from edgetl.data.folders import Example
from edgetl.evaluation.metrics import top1_interval
from edgetl.workstation.choosing.candidates import Candidate
from edgetl.workstation.choosing.results import Accuracy
from edgetl.workstation.recipe import Recipe
from edgetl.workstation.training.batch_norm import recalibrate_batch_norm
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.freezing import Freezing
from edgetl.workstation.training.initial_network import make_initial_network
from edgetl.workstation.training.linear_probe import cached_features, fit_linear
from edgetl.workstation.training.loss import class_weights
from edgetl.workstation.training.pixel_cache import decode_all

_FOLDS = 5


def probe(
    candidate: Candidate,
    recipe: Recipe,
    examples: Sequence[Example],
    classes: int,
    compute: Compute,
    progress: Progress,
) -> Accuracy:
    """Cross-validate a linear probe of a candidate's features in five folds.

    The network is prepared as for training: its batch norms are re-estimated on the pictures.

    Args:
        candidate: the network, its weights and picture size.
        recipe: the probe's settings.
        examples: training pictures, with every class among them.
        classes: the number of classes.
        compute: device and precision.
        progress: where to show how far decoding is.

    Raises EdgetlError if the weights do not fit, or no picture can be read.
    """
    own = candidate.recipe(recipe)
    start = make_initial_network(own, classes, Silent())
    pixels, _, _ = decode_all(examples, start.preprocess, progress, stage="decoding")
    compute.place(start.network.model)
    Freezing(start.network, own.finetune).adaptation_mode(start.network.model)
    recalibrate_batch_norm(start.network, pixels, start.preprocess, compute, seed=own.seed)
    seen = cached_features(start.network, pixels, start.preprocess, compute, Silent())
    right = _cross_validated(seen, pixels.labels, own, classes, compute)
    return Accuracy(top1=float(right.mean()), images=len(right), interval=top1_interval(right))


def _cross_validated(
    seen: Tensor, labels: NDArray[np.int64], recipe: Recipe, classes: int, compute: Compute
) -> NDArray[np.bool_]:
    """Whether each picture is classified correctly by a probe that was fitted without it."""
    folds = _folds(labels, recipe.seed)
    right = np.zeros(len(labels), bool)
    for fold in range(_FOLDS):
        outside, inside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        weights = class_weights(labels[outside], classes, recipe.finetune.imbalance)
        weight, bias = fit_linear(
            seen[torch.from_numpy(outside)],
            labels[outside],
            recipe.probe,
            weights.to(compute.device),
            compute,
        )
        logits = seen[torch.from_numpy(inside)].to(compute.device) @ weight.T + bias
        right[inside] = logits.argmax(1).cpu().numpy() == labels[inside]
    return right


def _folds(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Each picture's fold, int64 [N]: those of a class are dealt to the folds in turn."""
    order = np.random.default_rng(seed).permutation(len(labels))
    sorted_order = order[np.argsort(labels[order], kind="stable")]
    folds = np.empty(len(labels), np.int64)
    folds[sorted_order] = np.arange(len(labels)) % _FOLDS
    return folds
