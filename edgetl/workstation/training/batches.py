"""The batches that a network learns from: pictures, or the activations of its frozen front."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgetl.workstation.backbones.build import Network, frozen_blocks
from edgetl.workstation.recipe import STILL, Augment
from edgetl.workstation.training.activation_cache import (
    ROOM_BYTES,
    ActivationSet,
    FrozenFront,
    cache_activations,
)
from edgetl.workstation.training.augment import BatchAugment, plain_batch
from edgetl.workstation.training.progressive_resize import training_side
from edgetl.workstation.training.random_draws import Draws, draw
from edgetl.workstation.training.scoring import batches_of
from edgetl.workstation.training.setup import TrainingSetup

# Added to a view's number, so that its seed is not that of any epoch.
_VIEWS = 50_000


class StepInputs(NamedTuple):
    """The input of a training step on n pictures, on the device.

    Attributes:
        pictures: the input of `Batches.batch`: the pictures' indices, int64 [n]; their pixels,
            uint8 [n, S, S, 3]; or the finished batch.
        labels: their class indices, int64 [n]; -1: without a label.
        numbers: their random numbers, float32 [n, purposes]; see `Draws`.
    """

    pictures: Tensor
    labels: Tensor
    numbers: Tensor


class Batches(Protocol):
    """Training batches, epoch by epoch, and validation batches."""

    @property
    def side_px(self) -> int:
        """Side of the pictures in this epoch, in px; the batch's shape depends on it."""
        ...

    def learner(self, network: Network) -> Network:
        """The part of `network` that takes these batches; shares its parameters."""
        ...

    def begin(self, epoch: int, order: NDArray[np.int64]) -> None:
        """Prepare an epoch (from 0) of pictures in this order, int64 [N].

        All its random numbers are seeded by the epoch.
        """
        ...

    def inputs(self, part: slice | NDArray[np.int64]) -> StepInputs:
        """The input of a step on some of the epoch's pictures: a slice of them, or their places."""
        ...

    def numbers(self, part: slice) -> Tensor:
        """The random numbers of a slice of the epoch's pictures, float32 [n, purposes]."""
        ...

    def batch(self, pictures: Tensor, draws: Draws) -> Tensor:
        """Make the network's batch from tensors alone, so that a CUDA graph can capture it."""
        ...

    def teacher_batch(self, pictures: Tensor, draws: Draws) -> Tensor | None:
        """The same crops with the same colours as `batch`, but at the teacher's side.

        None if there is no teacher, or it answers on the network's own batch.
        """
        ...

    def held_out(self) -> Iterator[Tensor]:
        """The validation part's batches, in order and without augmentation.

        Of several processes, each gets the batches of its share (`scoring.batches_of`).
        """
        ...


def make_batches(setup: TrainingSetup, augment: Augment) -> Batches:
    """Batches of activations if a part of the network stays frozen throughout, else of pictures.

    `augment` is applied to training pictures.
    """
    network, settings = setup.network, setup.recipe.finetune
    pictures = PictureBatches(setup, augment)
    if setup.taught or setup.adapting:
        if frozen_blocks(network, settings.trainable_blocks):
            setup.progress.say("the frozen part runs in every step: no activations are cached")
        return pictures
    if settings.unfreeze_every or not settings.total_epochs:
        return pictures
    if network.backbone.auxiliary:  # auxiliary heads may branch off inside the frozen part
        return pictures
    frozen = frozen_blocks(network, settings.trainable_blocks)
    front = FrozenFront(network, frozen) if frozen else None
    if front is None or not _can_cache(front, pictures):
        return pictures
    return ActivationBatches(front, frozen, pictures)


def _can_cache(front: FrozenFront, pictures: "PictureBatches") -> bool:
    """Whether the cut network outputs the whole one's logits, and there is room for a view."""
    compute = pictures.compute
    front.whole.eval()
    front.tail.model.eval()
    one = pictures.train.whole.tensor(np.arange(1), compute.device)
    batch = plain_batch(one, pictures.spec)
    with torch.inference_mode(), compute.autocast():
        whole = front.whole(batch)
        activations = front.activations(batch, compute)
        if activations.nbytes * len(pictures.train) > ROOM_BYTES:
            return False
        try:
            cut = front.tail.model(activations)
        except (RuntimeError, TypeError):  # shapes do not match: not a plain chain of blocks
            return False
    return bool(torch.equal(whole, cut))


class PictureBatches:
    """Batches of pictures, augmented anew in each epoch."""

    def __init__(self, setup: TrainingSetup, augment: Augment) -> None:
        self.train, self.val, self.spec = setup.pictures, setup.val, setup.spec
        self.recipe, self.compute, self.progress = setup.recipe, setup.compute, setup.progress
        self.augment = augment
        self._least_px = setup.network.backbone.smallest_px
        self._labels = torch.from_numpy(self.train.labels)
        self._teacher_px = setup.taught.teacher.side_px if setup.taught else None
        # One for each side, never dropped: a captured step goes on reading the tensors it holds.
        self._augments: dict[int, BatchAugment] = {}
        parts = {"training": self.train.fine, "validation": self.val}
        for name, part in parts.items():
            if part and not self.compute.keep_on_card(part):
                self.progress.say(
                    f"the {name} pictures do not fit on the GPU: each batch is copied there"
                )
        self.begin(0, np.arange(len(self.train)))

    def learner(self, network: Network) -> Network:
        return network

    def begin(self, epoch: int, order: NDArray[np.int64]) -> None:
        device = self.compute.device
        settings, full_px = self.recipe.finetune, self.spec.size_px
        self.side_px = training_side(settings, full_px, self._least_px, epoch)
        for side_px in (self.side_px, self._teacher_px):
            if side_px and side_px not in self._augments:
                self._augments[side_px] = self.view(side_px)
        self._draws = self.draws(epoch, len(order))
        self._order = order
        chosen = torch.from_numpy(order)
        # Copied once per epoch, so that no step waits for a copy.
        self._chosen_there = chosen.to(device)
        self._labels_there = self._labels[chosen].to(device)

    def view(self, side_px: int | None = None) -> BatchAugment:
        """The augmentation at a side in px (None: the network's own)."""
        return BatchAugment(self.augment, self.spec, self.compute.device, side_px)

    def draws(self, number: int, count: int) -> Draws:
        """The random numbers of `count` pictures for an epoch or a view."""
        seed = self.recipe.seed * 100_003 + number
        return draw(count, self.augment, seed, self.compute.device)

    def inputs(self, part: slice | NDArray[np.int64]) -> StepInputs:
        if self.train.fine.resident is not None:
            pictures = self._chosen_there[part]
        else:
            pictures = self.train.fine.tensor(self._order[part], self.compute.device)
        labels, numbers = self.labels_and_numbers(part)
        if not self._capturable:  # it decides on the host: before the step
            pictures = self._augmented(pictures, Draws(numbers), self.side_px)
        return StepInputs(pictures, labels, numbers)

    def numbers(self, part: slice) -> Tensor:
        return self._draws.numbers[part]

    def labels_and_numbers(self, part: slice | NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Labels, int64 [n], and random numbers, float32 [n, purposes], of some pictures."""
        return self._labels_there[part], self._draws.numbers[part]

    def batch(self, pictures: Tensor, draws: Draws) -> Tensor:
        return self._augmented(pictures, draws, self.side_px) if self._capturable else pictures

    def teacher_batch(self, pictures: Tensor, draws: Draws) -> Tensor | None:
        # RandAugment draws on the host, and would not draw the same again.
        if self._teacher_px in (None, self.side_px) or not self._capturable:
            return None
        return self._augmented(pictures, draws, self._teacher_px)

    @property
    def _capturable(self) -> bool:
        return self._augments[self.side_px].capturable

    def _augmented(self, pictures: Tensor, draws: Draws, side_px: int) -> Tensor:
        resident = self.train.fine.resident
        chosen = pictures if resident is None else resident[pictures]
        return self._augments[side_px](chosen, draws)

    def held_out(self) -> Iterator[Tensor]:
        if self.val:
            for chosen in batches_of(len(self.val), self.compute.eval_batch, self.compute.ranks):
                yield plain_batch(self.val.tensor(chosen, self.compute.device), self.spec)


class ActivationBatches:
    """Batches of a frozen front's activations for a few augmented views, one view per epoch."""

    def __init__(self, front: FrozenFront, frozen: int, pictures: PictureBatches) -> None:
        recipe, progress = pictures.recipe, pictures.progress
        self._frozen, self._pictures, self._epoch = frozen, pictures, 0
        self.side_px = pictures.spec.size_px
        still = msgspec.structs.replace(pictures.augment, mixup=0.0, cutmix=0.0) == STILL
        count = 1 if still else min(recipe.finetune.cached_views, recipe.finetune.total_epochs)
        views = [_View(pictures, number) for number in range(count)]
        torch.manual_seed(recipe.seed * 100_003 + _VIEWS)  # a resumed run must see the same views
        self._compute = compute = pictures.compute
        self._train = cache_activations(
            front, pictures.train.fine, views, compute, progress, stage="frozen part"
        )
        self._val: ActivationSet | None = None
        if pictures.val:
            plain = [lambda pixels, _chosen: plain_batch(pixels, pictures.spec)]
            self._val = cache_activations(
                front, pictures.val, plain, compute, progress, stage="frozen part, val"
            )

    def learner(self, network: Network) -> Network:
        return FrozenFront(network, self._frozen).tail

    def begin(self, epoch: int, order: NDArray[np.int64]) -> None:
        self._pictures.begin(epoch, order)
        self._epoch, self._order = epoch, order

    def numbers(self, part: slice) -> Tensor:
        return self._pictures.numbers(part)

    def inputs(self, part: slice | NDArray[np.int64]) -> StepInputs:
        activations = self._train.batch(self._order[part], self._epoch)
        labels, numbers = self._pictures.labels_and_numbers(part)
        return StepInputs(activations.to(self._compute.device, non_blocking=True), labels, numbers)

    def batch(self, pictures: Tensor, draws: Draws) -> Tensor:
        return pictures

    def teacher_batch(self, pictures: Tensor, draws: Draws) -> Tensor | None:
        return None

    def held_out(self) -> Iterator[Tensor]:
        if self._val:
            compute = self._compute
            for chosen in batches_of(len(self._val), compute.eval_batch, compute.ranks):
                yield self._val.batch(chosen, 0).to(self._compute.device, non_blocking=True)


class _View:
    """An augmented view of every picture: makes a batch from pixels and indices."""

    def __init__(self, pictures: PictureBatches, number: int) -> None:
        self._augment = pictures.view()
        self._numbers = pictures.draws(_VIEWS + number, len(pictures.train)).numbers

    def __call__(self, pixels: Tensor, chosen: NDArray[np.int64]) -> Tensor:
        rows = torch.from_numpy(chosen).to(self._numbers.device)
        return self._augment(pixels, Draws(self._numbers[rows]))
