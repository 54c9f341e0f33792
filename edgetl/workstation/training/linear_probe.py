"""The linear probe: the best head for the features as they are, before anything else moves.

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
from edgetl.workstation.training.forward_patches import folded_batch_norm
from edgetl.workstation.training.pixel_cache import PixelSet


def fit_linear(
    seen: Tensor,
    labels: NDArray[np.int64],
    probe: Probe,
    class_weights: Tensor,
    compute: Compute,
) -> tuple[Tensor, Tensor]:
    """The best linear classifier of features, float32 [N, features].

    Returns its weight [classes, features] and bias [classes], on the device.
    """
    seen = seen.to(compute.device)
    mean, scale = seen.mean(0), seen.std(0).clamp(min=1e-3)
    inputs = (seen - mean) / scale
    wanted = torch.from_numpy(labels).to(compute.device)
    head = torch.nn.Linear(inputs.shape[1], len(class_weights)).to(compute.device)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(
        head.parameters(), max_iter=probe.steps, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        penalty = probe.weight_decay * head.weight.square().sum()
        loss = F.cross_entropy(head(inputs), wanted, class_weights) + penalty
        loss.backward()
        return loss

    optimizer.step(closure)
    # Undo the standardisation inside the weights: they then take raw features.
    weight = head.weight.detach() / scale
    return weight, head.bias.detach() - weight @ mean


def cached_features(
    network: Network,
    pictures: PixelSet,
    spec: Preprocess,
    compute: Compute,
    progress: Progress,
    chosen: NDArray[np.int64] | None = None,
    turn: Callable[[Tensor], Tensor] = lambda batch: batch,
) -> Tensor:
    """float32 [N, features] of every (chosen) picture, turned, the network in eval mode."""
    chosen = np.arange(len(pictures)) if chosen is None else chosen
    network.model.eval()
    rows = []
    with (
        torch.inference_mode(),
        folded_batch_norm(network.model),
        progress.stage("linear probe", len(chosen), "pictures") as shown,
    ):
        for some in np.array_split(chosen, max(1, -(-len(chosen) // compute.eval_batch))):
            with compute.autocast():
                pixels = turn(plain_batch(pictures.tensor(some, compute.device), spec))
                rows.append(features(network, pixels).float().cpu())
            shown.advance(len(some))
    return torch.cat(rows).clone()  # out of inference mode


def install_head(network: Network, weight: Tensor, bias: Tensor) -> None:
    """Put a linear classifier of the features into the head."""
    if network.head().out_features == 1:  # one logit: by how much the second class leads
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    with torch.no_grad():
        network.head().weight.copy_(weight)
        network.head().bias.copy_(bias)
