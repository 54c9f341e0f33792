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
from edgetl.workstation.training.distributed.ranks import ALONE, Ranks
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
        for chosen in batches_of(len(pictures), compute.eval_batch, compute.ranks):
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
    """The same as `evaluate_network`, for ready input batches in the order of `labels`.

    Of several processes, each passes the batches of its share, as `batches_of` returns them, and
    all get the evaluation of every picture.
    """
    model.eval()
    outputs = []
    folding = nullcontext() if exact else folded_batch_norm(model)
    with torch.inference_mode(), folding:
        for batch in batches():
            with compute.autocast(exact=exact):
                outputs.append(class_logits(model(batch)).float().cpu())
    own = torch.cat(outputs)[: _length(compute.ranks.share(len(labels)))]
    logits = compute.ranks.gather_rows(own).numpy()
    scores = (
        negative_log_likelihood(labels, logits),
        float((logits.argmax(1) == labels).mean()),
        negative_log_likelihood(labels, logits, fit_temperature(labels, logits)),
    )
    # One process's figures for all: they decide when training stops.
    loss, top1, calibrated_loss = compute.ranks.from_first(scores)
    return Evaluation(loss=loss, top1=top1, logits=logits, calibrated_loss=calibrated_loss)


def batches_of(count: int, size: int, ranks: Ranks = ALONE) -> list[NDArray[np.int64]]:
    """Split this process's share of the indices 0 to count - 1 into even runs of at most `size`.

    A process whose share is empty gets the index 0, so that it knows the shape of a result, and
    leaves its result out.
    """
    own = np.arange(count)[ranks.share(count)]
    if not len(own):
        own = np.arange(min(1, count))
    return np.array_split(own, max(1, -(-len(own) // size)))


def _length(part: slice) -> int:
    return int(part.stop - part.start)
