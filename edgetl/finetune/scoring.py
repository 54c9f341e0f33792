"""What a network says of pictures it does not learn from."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from edgetl.backbones.build import class_logits
from edgetl.core.preprocess import Preprocess
from edgetl.finetune.augment import plain_batch
from edgetl.finetune.compute import Compute
from edgetl.finetune.frozen_norms import folded_norms
from edgetl.finetune.pixels import PixelSet


class Evaluation(NamedTuple):
    """Mean cross-entropy, the fraction right, and logits (float32 [N, C]) of a set of pictures."""

    loss: float
    top1: float
    logits: NDArray[np.float32]


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
    as_it_is = nullcontext() if exact else folded_norms(model)
    with torch.inference_mode(), as_it_is:
        for batch in batches():
            with compute.autocast(exact=exact):
                logits.append(class_logits(model(batch)).float().cpu())
    said = torch.cat(logits)
    loss = float(F.cross_entropy(said, torch.from_numpy(labels)))
    return Evaluation(loss, float((said.argmax(1).numpy() == labels).mean()), said.numpy())


def batches_of(count: int, size: int) -> list[NDArray[np.int64]]:
    """0 to count - 1 in even runs of at most `size`."""
    return np.array_split(np.arange(count), max(1, -(-count // size)))
