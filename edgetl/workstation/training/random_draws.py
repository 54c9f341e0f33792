"""The random numbers of an epoch, drawn at once on the device that uses them."""

import numpy as np
import torch
from torch import Tensor

from edgetl.workstation.recipe import Augment

# Each picture of an epoch gets a random number from 0 to 1 for each of these.
_PURPOSES = (
    "area", "aspect", "left", "top", "mirror", "upside_down", "swap",
    "brightness", "contrast", "saturation",
    "erase", "erased_area", "erased_aspect", "erased_left", "erased_top",
    "partner", "kind_of_mix", "cut_left", "cut_top", "mixup", "cutmix",
)  # fmt: skip
# Numbers that only degraded pictures need. They are drawn separately, so that recipes without
# degradation keep their other numbers.
_DEGRADING = ("blur", "darken", "colour_cast", "warm", "noise", "noise_place")
_DEGRADING_SEED = 7_919
_COLUMN = {purpose: column for column, purpose in enumerate(_PURPOSES + _DEGRADING)}


class Draws:
    """Random numbers of some pictures, in the order in which they are trained on.

    Attributes:
        numbers: float32 [N, purposes], 0 to 1. Uniform, except for "mixup" and "cutmix": the share
            of the other picture in a mixed one.
    """

    def __init__(self, numbers: Tensor) -> None:
        self.numbers = numbers

    def __getitem__(self, purpose: str) -> Tensor:
        """The numbers of one purpose, float32 [N]."""
        return self.numbers[:, _COLUMN[purpose]]

    def partners(self, others: Tensor | None = None) -> Tensor:
        """The picture that each one is mixed with: a random order of all of them, int64 [N].

        `others`: bool [N], which pictures are mixed only with each other; they come last.
        """
        ranks = self["partner"]
        return (ranks if others is None else ranks + others).argsort()


def draw(count: int, augment: Augment, seed: int, device: torch.device) -> Draws:
    """Draw the random numbers of `count` pictures, reproducibly by seed and device."""
    generator = torch.Generator(device).manual_seed(seed)
    numbers = torch.rand(count, len(_PURPOSES), generator=generator, device=device)
    if augment.degrades:
        generator = torch.Generator(device).manual_seed(seed + _DEGRADING_SEED)
        more = torch.rand(count, len(_DEGRADING), generator=generator, device=device)
        numbers = torch.cat([numbers, more], 1)
    rng = np.random.default_rng(seed)  # torch's beta distribution takes no generator
    for method, alpha in (("mixup", augment.mixup), ("cutmix", augment.cutmix)):
        ratios = rng.beta(alpha, alpha, count) if alpha else np.zeros(count)
        numbers[:, _COLUMN[method]] = torch.from_numpy(ratios.astype(np.float32)).to(device)
    return Draws(numbers)
