"""Random crops, mirror images and colour changes of whole batches, on the batches' own device.

Everything here is a function of pixels and of random numbers drawn beforehand, so that a
training step can be captured as a CUDA graph, and can be tested with known numbers.
"""

import math

import torch
from torch import Tensor
from torchvision.transforms import v2

from edgetl.bundle.preprocessing import Preprocess
from edgetl.workstation.recipe import Augment
from edgetl.workstation.training.degrade import Degrade
from edgetl.workstation.training.random_draws import Draws
from edgetl.workstation.training.resample import crop_and_resize

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
# Random erasing's area and log aspect ratio, as in Zhong et al. 2020.
_ERASED_AREA = (0.02, 0.33)
_ERASED_ASPECT = (math.log(0.3), math.log(3.3))


class BatchAugment:
    """Augments uint8 [N, S, S, 3] to normalised float32 [N, 3, side, side], channels last.

    Crops follow Inception's random-resized crop (Szegedy et al. 2015). Each picture has its own
    crop and factors; torchvision's own transforms draw one for a whole batch, and on the host.
    """

    def __init__(
        self,
        augment: Augment,
        spec: Preprocess,
        device: torch.device,
        side_px: int | None = None,
    ) -> None:
        """`side_px` is the side of the output; None: the network's own."""
        self._augment = augment
        self._side_px = side_px or spec.size_px
        # Made once: a copy from the host cannot be captured in a CUDA graph.
        self._mean = torch.tensor(spec.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(spec.std, device=device).view(1, 3, 1, 1)
        self._luma = torch.tensor(_LUMA, device=device).view(1, 3, 1, 1)
        self._degrade = Degrade(augment, device, self._side_px)
        self._operations = v2.RandAugment(num_ops=2, magnitude=augment.rand_augment)

    @property
    def capturable(self) -> bool:
        """Whether it runs on the device alone: RandAugment decides on the host."""
        return not self._augment.rand_augment

    def __call__(self, pixels: Tensor, draws: Draws) -> Tensor:
        """Augment one batch with the random numbers of its pictures."""
        batch = crop_and_resize(pixels, self._boxes(draws, pixels.shape[1]), self._side_px)
        if self._augment.flip == "any":  # mirrored, swapped axes are quarter turns
            swapped = (draws["swap"] < 0.5).view(-1, 1, 1, 1)
            batch = torch.where(swapped, batch.transpose(2, 3), batch)
        if self._augment.rand_augment:
            batch = torch.stack([self._operations(picture) for picture in batch.byte()]).float()
        batch = self._light(batch / 255, draws)
        if self._augment.degrades:
            batch = self._degrade(batch, draws)
        batch = (batch - self._mean) / self._std
        if self._augment.erase:
            batch = batch * ~self._erased(draws)
        return batch.contiguous(memory_format=torch.channels_last)

    def _boxes(self, draws: Draws, source_px: int) -> Tensor:
        """Each picture's left, top, width and height, float32 [N, 4]; see `crop_and_resize`."""
        a = self._augment
        area = _between(draws["area"], a.min_area, 1.0)
        aspect = torch.exp(_between(draws["aspect"], -math.log(a.stretch), math.log(a.stretch)))
        width = (area * aspect).sqrt().clamp(max=1.0) * source_px
        height = (area / aspect).sqrt().clamp(max=1.0) * source_px
        left = draws["left"] * (source_px - width)
        top = draws["top"] * (source_px - height)
        if a.flip != "none":
            left, width = _reversed_where(draws["mirror"] < 0.5, left, width)
        if a.flip in ("both", "any"):
            top, height = _reversed_where(draws["upside_down"] < 0.5, top, height)
        return torch.stack([left, top, width, height], 1)

    def _light(self, batch: Tensor, draws: Draws) -> Tensor:
        """Brightness, contrast and saturation, each by a random factor per picture."""
        a = self._augment

        def factor(name: str, strength: float) -> Tensor:
            return _between(draws[name], 1 - strength, 1 + strength).view(-1, 1, 1, 1)

        if a.brightness:
            batch = batch * factor("brightness", a.brightness)
        if a.contrast:
            mean = (batch * self._luma).sum(1, keepdim=True).mean((2, 3), keepdim=True)
            batch = torch.lerp(mean, batch, factor("contrast", a.contrast))
        if a.saturation:
            grey = (batch * self._luma).sum(1, keepdim=True)
            batch = torch.lerp(grey, batch, factor("saturation", a.saturation))
        return batch.clamp(0, 1)

    def _erased(self, draws: Draws) -> Tensor:
        """The pixels that random erasing removes, bool [N, 1, side, side] (Zhong et al. 2020)."""
        area = _between(draws["erased_area"], *_ERASED_AREA)
        aspect = torch.exp(_between(draws["erased_aspect"], *_ERASED_ASPECT))
        width = (area * aspect).sqrt().clamp(max=1.0)
        height = (area / aspect).sqrt().clamp(max=1.0)
        inside = rectangles(
            draws["erased_left"] * (1 - width),
            draws["erased_top"] * (1 - height),
            width,
            height,
            self._side_px,
            self._side_px,
        )
        return inside & (draws["erase"] < self._augment.erase).view(-1, 1, 1, 1)


def rectangles(
    left: Tensor, top: Tensor, width: Tensor, height: Tensor, rows: int, columns: int
) -> Tensor:
    """Which pixels lie in each picture's rectangle: bool [N, 1, rows, columns].

    The rectangles are float [N], in fractions (0 to 1) of the picture's sides.
    """
    x = (torch.arange(columns, device=left.device) + 0.5) / columns
    y = (torch.arange(rows, device=left.device) + 0.5) / rows
    across = (x >= left[:, None]) & (x < (left + width)[:, None])
    down = (y >= top[:, None]) & (y < (top + height)[:, None])
    return (down[:, :, None] & across[:, None, :])[:, None]


def _between(uniform: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * uniform


def _reversed_where(chosen: Tensor, first: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """The same intervals, but the chosen ones given from their other end, with negative length."""
    return torch.where(chosen, first + length, first), torch.where(chosen, -length, length)


def normalise(batch: Tensor, spec: Preprocess) -> Tensor:
    """(batch - mean) / std over channels of float [N, 3, H, W] in 0 to 1, channels last."""
    mean = torch.tensor(spec.mean, device=batch.device).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, device=batch.device).view(1, 3, 1, 1)
    return ((batch - mean) / std).contiguous(memory_format=torch.channels_last)


def plain_batch(pixels: Tensor, spec: Preprocess, side_px: int | None = None) -> Tensor:
    """Make the network's input, float32 [N, 3, side, side], without augmentation.

    Args:
        pixels: decoded pictures, uint8 [N, S, S, 3].
        spec: the network's preprocessing.
        side_px: the side to resize them to; None: they keep their side.
    """
    if side_px and side_px != pixels.shape[1]:
        whole = torch.tensor([0.0, 0.0, *pixels.shape[1:3]], device=pixels.device)
        planes = crop_and_resize(pixels, whole.expand(len(pixels), 4), side_px)
    else:
        planes = pixels.permute(0, 3, 1, 2).float()
    return normalise(planes / 255, spec)
