"""The linear probe: the best head for the pretrained features, fitted before fine-tuning.

A random head's first gradients would damage the backbone; starting from a fitted head does
not (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features").
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.progress import Progress
from edgetl.workstation.backbones.build import Network, features
from edgetl.workstation.recipe import Probe
from edgetl.workstation.training.augment import plain_batch
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.distributed.progress import shared_stage
from edgetl.workstation.training.forward_patches import folded_batch_norm
from edgetl.workstation.training.pixel_cache import PixelSet
from edgetl.workstation.training.scoring import batches_of


def fit_linear(
    seen: Tensor,
    labels: NDArray[np.int64],
    probe: Probe,
    class_weights: Tensor,
    compute: Compute,
) -> tuple[Tensor, Tensor]:
    """Fit the best linear classifier of N pictures' features by L-BFGS.

    Args:
        seen: the features, float32 [N, features].
        labels: class indices, int64 [N].
        probe: the number of steps and the weight decay.
        class_weights: float32 [classes].
        compute: the device to run on.

    Returns its weight [classes, features] and bias [classes], on the device: in all processes that
    of the first one.
    """
    seen = seen.to(compute.device)
    mean, scale = seen.mean(0), seen.std(0).clamp(min=1e-3)
    inputs = (seen - mean) / scale
    targets = torch.from_numpy(labels).to(compute.device)
    head = torch.nn.Linear(inputs.shape[1], len(class_weights)).to(compute.device)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(
        head.parameters(), max_iter=probe.steps, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        penalty = probe.weight_decay * head.weight.square().sum()
        loss = F.cross_entropy(head(inputs), targets, class_weights) + penalty
        loss.backward()
        return loss

    optimizer.step(closure)
    # Undo the standardisation inside the weights: they then take raw features.
    weight = head.weight.detach() / scale
    bias = head.bias.detach() - weight @ mean
    compute.ranks.take_first([weight, bias])
    return weight, bias


def cached_features(
    network: Network,
    pictures: PixelSet,
    spec: Preprocess,
    compute: Compute,
    progress: Progress,
    chosen: NDArray[np.int64] | None = None,
    turn: Callable[[Tensor], Tensor] = lambda batch: batch,
) -> Tensor:
    """Compute the features of all pictures, float32 [N, features], in eval mode.

    Several processes share the pictures, and all of them get every picture's features.

    Args:
        network: sets it to eval mode.
        pictures: decoded pictures.
        spec: the network's preprocessing.
        compute: device and precision.
        progress: where to show how far it is.
        chosen: indices of the pictures to use, int64 [N]; None: all.
        turn: a function applied to each normalised batch, e.g. to mirror it.
    """
    chosen = np.arange(len(pictures)) if chosen is None else chosen
    ranks = compute.ranks
    own = ranks.share(len(chosen))
    network.model.eval()
    rows = []
    with (
        torch.inference_mode(),
        folded_batch_norm(network.model),
        shared_stage(progress, "linear probe", len(chosen), ranks) as shown,
    ):
        for places in batches_of(len(chosen), compute.eval_batch, ranks):
            with compute.autocast():
                pixels = turn(plain_batch(pictures.tensor(chosen[places], compute.device), spec))
                rows.append(features(network, pixels).float().cpu())
            shown.advance(len(places))
    mine = torch.cat(rows)[: own.stop - own.start]
    return ranks.gather_rows(mine).clone()  # a copy that is no inference tensor


def install_head(network: Network, weight: Tensor, bias: Tensor) -> None:
    """Set the head's weights to those of a linear classifier, as `fit_linear` returns them."""
    if network.head().out_features == 1:  # one logit: the second class's minus the first's
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    with torch.no_grad():
        network.head().weight.copy_(weight)
        network.head().bias.copy_(bias)
