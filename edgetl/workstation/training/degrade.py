"""Pictures as a cheap camera takes them in bad light: blurred, dark, colour-cast, noisy.

Noise in training also helps against corruptions of other kinds (Rusak et al. 2020, "A Simple Way
to Make Neural Networks Robust Against Diverse Image Corruptions"). As in a camera, the lens blurs
first, then light is lost, then the sensor adds noise.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from edgetl.workstation.recipe import Augment
from edgetl.workstation.training.random_draws import Draws

_GAMMA = 2.2  # of sRGB, nearly
# The strongest degradation: the blur's standard deviation as a share of the side, stops of light
# lost, stops by which red and blue differ from green, and the noise's standard deviation.
_BLUR, _DARK_STOPS, _CAST_STOPS, _NOISE = 0.015, 3.0, 0.7, 0.2
_NOISE_BANK = 1 << 20
_NOISE_SEED = 0


class Degrade:
    """Degrades float32 [N, 3, side, side] in 0 to 1, each picture by its own random numbers."""

    def __init__(self, augment: Augment, device: torch.device, side_px: int) -> None:
        self._augment, self._side_px = augment, side_px
        reach = max(1, round(3 * _BLUR * side_px))
        self._taps = torch.arange(-reach, reach + 1, device=device, dtype=torch.float32)
        # Each picture's noise is a part of one long row of numbers: what is drawn for it is only
        # where that part begins, so that a training step can be captured and repeated.
        self._bank: Tensor | None = None
        if augment.noise:
            count = _NOISE_BANK + 3 * side_px * side_px
            generator = torch.Generator().manual_seed(_NOISE_SEED)
            self._bank = torch.randn(count, generator=generator).to(device)

    def __call__(self, batch: Tensor, draws: Draws) -> Tensor:
        """Degrade a batch with the random numbers of its pictures."""
        if self._augment.blur:
            batch = self._blurred(batch, draws)
        if self._augment.darken or self._augment.colour_cast:
            batch = batch * self._gains(draws)
        if self._bank is not None:
            batch = batch + self._noise(self._bank, draws)
        return batch.clamp(0, 1)

    def _strength(self, draws: Draws, purpose: str, share: float) -> Tensor:
        """0 for the pictures that stay as they are, else 0 to 1 evenly; float32 [N].

        The one number drawn for each picture decides both.
        """
        number = draws[purpose]
        return torch.where(number < share, number / max(share, 1e-6), 0.0)

    def _blurred(self, batch: Tensor, draws: Draws) -> Tensor:
        """A Gaussian blur, along columns and then along rows."""
        strength = self._strength(draws, "blur", self._augment.blur)
        sigma = (strength * _BLUR * self._side_px).clamp(min=1e-3)
        kernels = torch.exp(-0.5 * (self._taps / sigma[:, None]) ** 2)
        kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(3, 0)
        reach = len(self._taps) // 2
        planes = batch.reshape(1, -1, *batch.shape[2:])
        groups = planes.shape[1]
        planes = F.pad(planes, (reach, reach, reach, reach), mode="replicate")
        planes = F.conv2d(planes, kernels[:, None, :, None], groups=groups)
        planes = F.conv2d(planes, kernels[:, None, None, :], groups=groups)
        return planes.reshape(batch.shape)

    def _gains(self, draws: Draws) -> Tensor:
        """What each channel's values are multiplied by, float32 [N, 3, 1, 1]."""
        dark = self._strength(draws, "darken", self._augment.darken) * -_DARK_STOPS
        cast = self._strength(draws, "colour_cast", self._augment.colour_cast) * _CAST_STOPS
        warm = torch.where(draws["warm"] < 0.5, cast, -cast)
        stops = torch.stack([dark + warm, dark, dark - warm], 1)
        return (2.0 ** (stops / _GAMMA))[:, :, None, None]

    def _noise(self, bank: Tensor, draws: Draws) -> Tensor:
        strength = self._strength(draws, "noise", self._augment.noise) * _NOISE
        begin = (draws["noise_place"] * _NOISE_BANK).long()
        count = 3 * self._side_px * self._side_px
        places = begin[:, None] + torch.arange(count, device=bank.device)
        noise = bank[places].view(-1, 3, self._side_px, self._side_px)
        return noise * strength.view(-1, 1, 1, 1)
