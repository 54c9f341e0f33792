"""What a network says of pictures it does not learn from."""

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
    """How a network does on a set of pictures.

    Attributes:
        loss: mean cross-entropy.
        top1: the fraction right.
        logits: float32 [N, C].
        calibrated_loss: the mean cross-entropy at the temperature that suits these pictures best:
            what is left of the loss when being too sure, or not sure enough, is set right.
    """

    loss: float
    top1: float
    logits: NDArray[np.float32]
    calibrated_loss: float


def evaluate_network(
    model: nn.Module, pictures: PixelSet, spec: Preprocess, compute: Compute, *, exact: bool
) -> Evaluation:
    """Predict every picture. `exact` forces float32 and the network's own modules, for
    figures that are reported."""

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
    """Likewise for what a network takes, whatever that is, in the order of `labels`."""
    model.eval()
    logits = []
    as_it_is = nullcontext() if exact else folded_batch_norm(model)
    with torch.inference_mode(), as_it_is:
        for batch in batches():
            with compute.autocast(exact=exact):
                logits.append(class_logits(model(batch)).float().cpu())
    said = torch.cat(logits).numpy()
    return Evaluation(
        loss=negative_log_likelihood(labels, said),
        top1=float((said.argmax(1) == labels).mean()),
        logits=said,
        calibrated_loss=negative_log_likelihood(labels, said, fit_temperature(labels, said)),
    )


def batches_of(count: int, size: int) -> list[NDArray[np.int64]]:
    """0 to count - 1 in even runs of at most `size`."""
    return np.array_split(np.arange(count), max(1, -(-count // size)))
