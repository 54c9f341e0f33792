"""Random crops, flips and light for whole batches at once, on whatever device they are on."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch import Tensor
from torchvision.transforms import v2

from edgetl.core.preprocess import Preprocess
from edgetl.core.recipe import Augment

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
# From here on bilinear sampling would skip pixels and alias.
_COARSE = 1.25
Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class BatchAugment:
    """uint8 [N, S, S, 3] -> normalised float32 [N, 3, side, side], channels last.

    Crops follow Inception's random-resized crop (Szegedy et al. 2015). torchvision draws one
    crop and one factor for a whole batch, so these are done here, each picture with its own;
    RandAugment and erasing are torchvision's, picture by picture, from torch's global generator.
    """

    def __init__(
        self,
        augment: Augment,
        spec: Preprocess,
        generator: torch.Generator,
        side_px: int | None = None,
    ) -> None:
        """`side_px` is the side to make where it is not the network's own."""
        self._side_px = side_px or spec.size_px
        self._augment = augment
        self._spec = spec
        self._generator = generator
        self._operations = v2.RandAugment(num_ops=2, magnitude=augment.rand_augment)
        self._erase = v2.RandomErasing(p=augment.erase)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Augment one batch."""
        planes = pixels.permute(0, 3, 1, 2)
        if self._augment.rand_augment:
            planes = torch.stack([self._operations(picture) for picture in planes])
        batch = planes.float() / 255
        size = self._side_px
        if min(batch.shape[2:]) >= _COARSE * size:
            smaller = round(size * min(batch.shape[2:]) / self._spec.size_px)
            batch = F.interpolate(batch, (smaller, smaller), mode="bilinear", antialias=True)
        grid = F.affine_grid(self._crops(len(batch)), [len(batch), 3, size, size], False)
        batch = F.grid_sample(batch, grid.to(batch.device), "bilinear", "reflection", False)
        batch = normalise(self._light(batch), self._spec)
        if self._augment.erase:
            batch = torch.stack([self._erase(picture) for picture in batch])
            batch = batch.contiguous(memory_format=torch.channels_last)
        return batch

    def _uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self._generator)

    def _crops(self, count: int) -> Tensor:
        """Affine matrices [N, 2, 3] from the crop's square to the picture's."""
        stretch = math.log(self._augment.stretch)
        area = self._uniform(self._augment.min_area, 1.0, count)
        aspect = torch.exp(self._uniform(-stretch, stretch, count))
        width = (area * aspect).sqrt().clamp(max=1.0)
        height = (area / aspect).sqrt().clamp(max=1.0)
        theta = torch.zeros(count, 2, 3)
        theta[:, 0, 0] = width * self._signs(count, self._augment.flip != "none")
        theta[:, 1, 1] = height * self._signs(count, self._augment.flip in ("both", "any"))
        theta[:, 0, 2] = self._uniform(-1, 1, count) * (1 - width)
        theta[:, 1, 2] = self._uniform(-1, 1, count) * (1 - height)
        if self._augment.flip == "any":  # with the mirror images, swapped axes are quarter turns
            swapped = self._uniform(0, 1, count) < 0.5
            theta[swapped] = theta[swapped][:, :, [1, 0, 2]]
        return theta

    def _signs(self, count: int, flip: bool) -> Tensor:
        if not flip:
            return torch.ones(count)
        return torch.where(self._uniform(0, 1, count) < 0.5, -1.0, 1.0)

    def _light(self, batch: Tensor) -> Tensor:
        """Brightness, contrast and saturation, each by a random factor per picture."""
        a = self._augment
        shape = (len(batch), 1, 1, 1)
        luma = torch.tensor(_LUMA, device=batch.device).view(1, 3, 1, 1)
        if a.brightness:
            batch = batch * self._factor(a.brightness, shape, batch)
        if a.contrast:
            mean = (batch * luma).sum(1, keepdim=True).mean((2, 3), keepdim=True)
            batch = torch.lerp(mean, batch, self._factor(a.contrast, shape, batch))
        if a.saturation:
            grey = (batch * luma).sum(1, keepdim=True)
            batch = torch.lerp(grey, batch, self._factor(a.saturation, shape, batch))
        return batch.clamp(0, 1)

    def _factor(self, strength: float, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return self._uniform(1 - strength, 1 + strength, *shape).to(like.device)


def make_mix(augment: Augment, classes: int) -> Mix | None:
    """Mixes a batch [N, ...] and its int64 labels [N] into float targets [N, classes].

    None where the recipe mixes nothing. Draws from torch's global generator.
    """
    kinds: list[Mix] = []
    if augment.mixup:
        kinds.append(v2.MixUp(alpha=augment.mixup, num_classes=classes))
    if augment.cutmix:
        kinds.append(v2.CutMix(alpha=augment.cutmix, num_classes=classes))
    if not kinds:
        return None
    chosen: Mix = v2.RandomChoice(kinds)

    def mix(batch: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        # torchvision mixes neighbours, and batches come in file order, which is class by class.
        order = torch.randperm(len(batch)).to(batch.device)
        return chosen(batch[order], labels[order])

    return mix


def normalise(batch: Tensor, spec: Preprocess) -> Tensor:
    """(batch - mean) / std over channels of float [N, 3, H, W] in 0 to 1, channels last."""
    mean = torch.tensor(spec.mean, device=batch.device).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, device=batch.device).view(1, 3, 1, 1)
    return ((batch - mean) / std).contiguous(memory_format=torch.channels_last)


def plain_batch(pixels: Tensor, spec: Preprocess) -> Tensor:
    """uint8 [N, S, S, 3] as the network takes it, scaled where need be, nothing random."""
    planes = pixels.permute(0, 3, 1, 2).float()
    size = (spec.size_px, spec.size_px)
    if planes.shape[2:] != size:  # training pictures are kept a little larger
        planes = F.interpolate(planes, size, mode="bilinear", antialias=True)
    return normalise(planes / 255, spec)
