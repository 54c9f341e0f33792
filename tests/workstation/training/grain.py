"""Pictures that only the strength of their grain tells apart."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STRENGTHS = (6, 12, 24)
# Cycles per pixel. At half the side these become 0.34 to 0.48: close to the finest that a picture
# can show, gone at a quarter, and much weaker wherever a picture is scaled once too often.
_GRAIN = (0.17, 0.24)
_SHAPES = (0.004, 0.03)


def write_grainy_parts(root: Path, side_px: int, train: int = 30, test: int = 24) -> Path:
    """`root`/train/<strength> and `root`/test/<strength>, so many pictures a class in each."""
    seed = 0
    for part, count in (("train", train), ("test", test)):
        for strength in STRENGTHS:
            folder = root / part / f"{strength:02}"
            folder.mkdir(parents=True)
            for number in range(count):
                seed += 1
                draw_grain(seed, side_px, strength).save(folder / f"{number:02}.png")
    return root


def draw_grain(seed: int, side_px: int, strength: float) -> Image.Image:
    """Grey shapes, with grain of this standard deviation (of 255) over them."""
    rng = np.random.default_rng(seed)
    shapes = _noise(rng, side_px, _SHAPES)
    grain = _noise(rng, side_px, _GRAIN)
    return Image.fromarray(np.clip(128 + 25 * shapes + strength * grain, 0, 255).astype(np.uint8))


def _noise(
    rng: np.random.Generator, side_px: int, band: tuple[float, float]
) -> NDArray[np.float64]:
    """Noise of these frequencies alone, with a standard deviation of 1."""
    across = np.fft.fftfreq(side_px)
    frequency = np.hypot(across, across[:, np.newaxis])
    spectrum = np.fft.fft2(rng.standard_normal((side_px, side_px)))
    inside = (frequency >= band[0]) & (frequency < band[1])
    noise = np.fft.ifft2(np.where(inside, spectrum, 0)).real
    return noise / noise.std()
