"""The linear probe: the best head for the features as they are, before anything else moves.

A random head's first gradients would damage the backbone; starting from a fitted head does
not (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features").
"""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from edgetl.backbones.build import Network, features
from edgetl.core.preprocess import Preprocess
from edgetl.core.progress import Progress
from edgetl.core.recipe import Probe
from edgetl.finetune.augment import plain_batch
from edgetl.finetune.compute import Compute
from edgetl.finetune.pixels import PixelSet
from edgetl.finetune.scoring import batches_of

_ADAPT_PICTURES = 1024


def fit_probe(
    network: Network,
    train: PixelSet,
    spec: Preprocess,
    probe: Probe,
    class_weights: Tensor,
    compute: Compute,
    progress: Progress,
) -> None:
    """Fit the head on cached features; changes the head in place."""
    seen = cached_features(network, train, spec, compute, progress)
    mean, scale = seen.mean(0), seen.std(0).clamp(min=1e-3)
    inputs = ((seen - mean) / scale).to(compute.device)
    labels = torch.from_numpy(train.labels).to(compute.device)
    head = torch.nn.Linear(inputs.shape[1], len(class_weights)).to(compute.device)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(
        head.parameters(), max_iter=probe.steps, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        penalty = probe.weight_decay * head.weight.square().sum()
        loss = F.cross_entropy(head(inputs), labels, class_weights) + penalty
        loss.backward()
        return loss

    optimizer.step(closure)
    _install(network, head, mean.to(compute.device), scale.to(compute.device))


def adapt_norms(
    network: Network, train: PixelSet, spec: Preprocess, compute: Compute, *, seed: int
) -> None:
    """Re-estimate batch-norm statistics on the user's pictures (AdaBN, Li et al. 2016).

    Training normalises by the batch at hand. Where the pictures look unlike ImageNet, a probe
    fitted under ImageNet's statistics meets other features in the first training step, and its
    large wrong gradients undo the pretrained weights. Norms in eval mode are left alone.
    """
    norms = [m for m in network.model.modules() if isinstance(m, _BatchNorm) and m.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over all batches
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(train), generator=generator)[:_ADAPT_PICTURES].numpy()
    with torch.inference_mode():
        for chosen in np.array_split(order, max(1, len(order) // compute.eval_batch)):
            pixels = train.tensor(np.sort(chosen), compute.device)
            with compute.autocast():
                network.model(plain_batch(pixels, spec))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def cached_features(
    network: Network, pictures: PixelSet, spec: Preprocess, compute: Compute, progress: Progress
) -> Tensor:
    """float32 [N, features] of every picture, the network in eval mode."""
    network.model.eval()
    rows = []
    with torch.inference_mode(), progress.stage("linear probe", len(pictures), "pictures") as shown:
        for chosen in batches_of(len(pictures), compute.eval_batch):
            with compute.autocast():
                pixels = plain_batch(pictures.tensor(chosen, compute.device), spec)
                rows.append(features(network, pixels).float().cpu())
            shown.advance(len(chosen))
    return torch.cat(rows).clone()  # out of inference mode


def _install(network: Network, head: torch.nn.Linear, mean: Tensor, scale: Tensor) -> None:
    """Undo the standardisation inside the weights: the head then takes raw features."""
    with torch.no_grad():
        weight = head.weight / scale
        bias = head.bias - weight @ mean
        if network.head().out_features == 1:  # one logit: by how much the second class leads
            weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
        network.head().weight.copy_(weight)
        network.head().bias.copy_(bias)
