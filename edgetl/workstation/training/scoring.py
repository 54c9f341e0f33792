"""Evaluating a network on pictures that it is not trained on."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgetl.bundle.preprocessing import Preprocess
from edgetl.evaluation.temperature import fit_temperature, negative_log_likelihood
from edgetl.workstation.backbones.build import class_logits
from edgetl.workstation.training.augment import plain_batch
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.forward_patches import folded_batch_norm
from edgetl.workstation.training.pixel_cache import PixelSet


class Evaluation(NamedTuple):
    """A network's scores on a set of pictures.

    Attributes:
        loss: mean cross-entropy.
        top1: the fraction of correct predictions.
        logits: float32 [N, C].
        calibrated_loss: the mean cross-entropy at the best temperature for these pictures: the
            loss without the effect of over- or underconfidence.
    """

    loss: float
    top1: float
    logits: NDArray[np.float32]
    calibrated_loss: float


def evaluate_network(
    model: nn.Module, pictures: PixelSet, spec: Preprocess, compute: Compute, *, exact: bool
) -> Evaluation:
    """Evaluate a network on every picture.

    `exact` forces float32 and the network's own modules, for figures that are reported.
    """

    def batches() -> Iterator[Tensor]:
        for chosen in batches_of(len(pictures), compute.eval_batch):
            yield plain_batch(pictures.tensor(chosen, compute.device), spec)

    return evaluate_batches(model, batches, pictures.labels, compute, exact=exact)


def evaluate_batches(
    model: nn.Module,
    batches: Callable[[], Iterator[Tensor]],
    labels: NDArray[np.int64],
    compute: Compute,
    *,
    exact: bool,
) -> Evaluation:
    """The same as `evaluate_network`, for ready input batches in the order of `labels`."""
    model.eval()
    outputs = []
    folding = nullcontext() if exact else folded_batch_norm(model)
    with torch.inference_mode(), folding:
        for batch in batches():
            with compute.autocast(exact=exact):
                outputs.append(class_logits(model(batch)).float().cpu())
    logits = torch.cat(outputs).numpy()
    return Evaluation(
        loss=negative_log_likelihood(labels, logits),
        top1=float((logits.argmax(1) == labels).mean()),
        logits=logits,
        calibrated_loss=negative_log_likelihood(labels, logits, fit_temperature(labels, logits)),
    )


def batches_of(count: int, size: int) -> list[NDArray[np.int64]]:
    """Split the indices 0 to count - 1 into even runs of at most `size`."""
    return np.array_split(np.arange(count), max(1, -(-count // size)))
