"""Estimating batch-norm statistics on the user's pictures, prepared as at inference."""

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from edgetl.bundle.preprocessing import Preprocess
from edgetl.workstation.backbones.build import Network
from edgetl.workstation.training.augment import plain_batch
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.pixel_cache import PixelSet

# Enough for a norm's statistics, and takes only seconds on a small CPU.
_MOST_PICTURES = 1024


def recalibrate_batch_norm(
    network: Network,
    train: PixelSet,
    spec: Preprocess,
    compute: Compute,
    *,
    seed: int,
) -> None:
    """Re-estimate batch-norm statistics on the user's pictures (AdaBN, Li et al. 2016).

    Uses at most 1,024 of them, whole and at the network's own side.

    Training normalises by the current batch. If the pictures look unlike ImageNet, a probe fitted
    with ImageNet's statistics gets other features in the first training step, and its large wrong
    gradients damage the pretrained weights. After training, the statistics are those of crops
    (Touvron et al. 2019, "Fixing the train-test resolution discrepancy", section 3), and averaged
    weights have none of their own (Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima
    and Better Generalization", section 3.2): both would distort the network's outputs.

    Norms in eval mode are not changed. Several processes share the pictures, and get the same
    statistics as one process if their norms are shared, too (`distributed.norms`).
    """
    norms = [m for m in network.model.modules() if isinstance(m, _BatchNorm) and m.training]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over all batches
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(train), generator=generator)[:_MOST_PICTURES].numpy()
    with torch.inference_mode():
        # Norms take their statistics over all processes' shares of a batch: none may be empty.
        size = max(compute.eval_batch, compute.ranks.count)
        for chosen in np.array_split(order, max(1, len(order) // size)):
            own = np.sort(chosen)[compute.ranks.share(len(chosen))]
            pixels = train.tensor(own, compute.device)
            with compute.autocast():
                network.model(plain_batch(pixels, spec))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
