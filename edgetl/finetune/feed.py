"""What learns is fed with pictures, or with what the frozen front made of them."""

from collections.abc import Iterator
from typing import Protocol

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgetl.backbones.build import Network, frozen_blocks
from edgetl.core.preprocess import Preprocess
from edgetl.core.progress import Progress
from edgetl.core.recipe import STILL, Recipe
from edgetl.finetune.augment import BatchAugment, plain_batch
from edgetl.finetune.compute import Compute
from edgetl.finetune.pixels import PixelSet
from edgetl.finetune.prefix import ROOM_BYTES, ActivationSet, FrozenFront, remember
from edgetl.finetune.scoring import batches_of
from edgetl.finetune.sides import training_side

# Seeds of views are far from those of epochs.
_VIEWS = 50_000


class Feed(Protocol):
    """Batches for one epoch after the other, and for validation."""

    def learner(self, network: Network) -> Network:
        """The part of `network` that takes these batches. Shares its parameters."""
        ...

    def begin(self, epoch: int) -> None:
        """Make ready for an epoch (from 0); everything random in it is seeded by it."""
        ...

    def batch(self, chosen: NDArray[np.int64]) -> Tensor:
        """Training batch of these pictures, on the device."""
        ...

    def held_out(self) -> Iterator[Tensor]:
        """The validation part's batches, in order, nothing random."""
        ...


def make_feed(
    network: Network,
    train: PixelSet,
    val: PixelSet | None,
    spec: Preprocess,
    recipe: Recipe,
    compute: Compute,
    progress: Progress,
) -> Feed:
    """Activations where a part of the network stays frozen throughout; otherwise pictures."""
    least_px = network.backbone.smallest_px
    pictures = PictureFeed(train, val, spec, recipe, compute, least_px)
    settings = recipe.finetune
    if settings.unfreeze_every or not settings.total_epochs:
        return pictures
    if network.backbone.auxiliary:  # their heads may branch off in the middle of the front
        return pictures
    frozen = frozen_blocks(network, settings.trainable_blocks)
    front = FrozenFront(network, frozen) if frozen else None
    if front is None or not _fits(front, pictures, compute):
        return pictures
    return ActivationFeed(front, frozen, pictures, recipe, progress)


def _fits(front: FrozenFront, pictures: "PictureFeed", compute: Compute) -> bool:
    """Whether the cut network answers as the whole one does, and there is room for a view."""
    front.whole.eval()
    front.tail.model.eval()
    batch = plain_batch(pictures.train.tensor(np.arange(1), compute.device), pictures.spec)
    with torch.inference_mode(), compute.autocast():
        whole = front.whole(batch)
        seen = front.activations(batch, compute)
        if seen.nbytes * len(pictures.train) > ROOM_BYTES:
            return False
        try:
            cut = front.tail.model(seen)
        except (RuntimeError, TypeError):  # the shapes do not fit: it is no plain chain of blocks
            return False
    return bool(torch.equal(whole, cut))


class PictureFeed:
    """Pictures, augmented anew in each epoch."""

    def __init__(
        self,
        train: PixelSet,
        val: PixelSet | None,
        spec: Preprocess,
        recipe: Recipe,
        compute: Compute,
        least_px: int,
    ) -> None:
        """`least_px` is the smallest side that the network takes."""
        self.train, self.val, self.spec = train, val, spec
        self.compute = compute
        self._recipe, self._least_px = recipe, least_px
        for part in (train, val):
            if part:
                part.move_to(compute.device)
        self.begin(0)

    def learner(self, network: Network) -> Network:
        return network

    def begin(self, epoch: int) -> None:
        settings, full_px = self._recipe.finetune, self.spec.size_px
        side_px = training_side(settings, full_px, self._least_px, epoch)
        self._augment = self.view(epoch, side_px)

    def view(self, number: int, side_px: int | None = None) -> BatchAugment:
        """The augmentation with the randomness of this number."""
        generator = torch.Generator().manual_seed(self._recipe.seed * 100_003 + number)
        return BatchAugment(self._recipe.augmentation, self.spec, generator, side_px)

    def batch(self, chosen: NDArray[np.int64]) -> Tensor:
        return self._augment(self.train.tensor(chosen, self.compute.device))

    def held_out(self) -> Iterator[Tensor]:
        if self.val:
            for chosen in batches_of(len(self.val), self.compute.eval_batch):
                yield plain_batch(self.val.tensor(chosen, self.compute.device), self.spec)


class ActivationFeed:
    """What the frozen front says of a few augmented views of each picture, one view an epoch."""

    def __init__(
        self,
        front: FrozenFront,
        frozen: int,
        pictures: PictureFeed,
        recipe: Recipe,
        progress: Progress,
    ) -> None:
        self._frozen, self._compute, self._epoch = frozen, pictures.compute, 0
        still = msgspec.structs.replace(recipe.augmentation, mixup=0.0, cutmix=0.0) == STILL
        count = 1 if still else min(recipe.finetune.cached_views, recipe.finetune.total_epochs)
        views = [pictures.view(_VIEWS + v) for v in range(count)]
        torch.manual_seed(recipe.seed * 100_003 + _VIEWS)  # a resumed run must see the same views
        self._train = remember(
            front, pictures.train, views, self._compute, progress, stage="frozen part"
        )
        self._val: ActivationSet | None = None
        if pictures.val:
            plain = [lambda pixels: plain_batch(pixels, pictures.spec)]
            self._val = remember(
                front, pictures.val, plain, self._compute, progress, stage="frozen part, val"
            )

    def learner(self, network: Network) -> Network:
        return FrozenFront(network, self._frozen).tail

    def begin(self, epoch: int) -> None:
        self._epoch = epoch

    def batch(self, chosen: NDArray[np.int64]) -> Tensor:
        rows = self._train.batch(chosen, self._epoch)
        return rows.to(self._compute.device, non_blocking=True)

    def held_out(self) -> Iterator[Tensor]:
        if self._val:
            for chosen in batches_of(len(self._val), self._compute.eval_batch):
                yield self._val.batch(chosen, 0).to(self._compute.device, non_blocking=True)
