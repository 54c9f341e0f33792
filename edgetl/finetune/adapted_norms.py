"""Statistics of batch norms, estimated on the user's pictures as they will be asked about."""

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from edgetl.backbones.build import Network
from edgetl.core.preprocess import Preprocess
from edgetl.core.recipe import Recipe
from edgetl.finetune.augment import plain_batch
from edgetl.finetune.compute import Compute
from edgetl.finetune.pixels import PixelSet
from edgetl.finetune.sides import training_side

# Enough for a norm's statistics after every epoch, and seconds on a small CPU.
_SETTLE_PICTURES = 512


def adapt_norms(
    network: Network,
    train: PixelSet,
    spec: Preprocess,
    compute: Compute,
    *,
    seed: int,
    most: int = 1024,
) -> None:
    """Re-estimate batch-norm statistics on the user's pictures (AdaBN, Li et al. 2016).

    On `most` of them at most, whole and at the network's own side.

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
    order = torch.randperm(len(train), generator=generator)[:most].numpy()
    with torch.inference_mode():
        for chosen in np.array_split(order, max(1, len(order) // compute.eval_batch)):
            pixels = train.tensor(np.sort(chosen), compute.device)
            with compute.autocast():
                network.model(plain_batch(pixels, spec))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def settle_norms(
    kept: Network, train: PixelSet, spec: Preprocess, recipe: Recipe, compute: Compute
) -> None:
    """After an epoch on smaller pictures: make norms those of whole ones at the network's side.

    Training leaves statistics of crops at its own size, by which the network would be off
    (Touvron et al. 2019, section 3). Does nothing where pictures end at the network's side, as
    they do where only some blocks learn, or where norms are frozen. Leaves the network in
    training mode.
    """
    settings, full_px = recipe.finetune, spec.size_px
    last_px = training_side(settings, full_px, kept.backbone.smallest_px, settings.total_epochs)
    if last_px < full_px and settings.norms == "batch":
        kept.model.train()
        adapt_norms(kept, train, spec, compute, seed=recipe.seed, most=_SETTLE_PICTURES)
