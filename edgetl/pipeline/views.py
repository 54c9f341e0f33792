"""Training pictures as a network has not seen them: through random crops."""

from collections.abc import Sequence

import msgspec
import numpy as np
from PIL import Image

from edgetl.core.errors import DataError
from edgetl.core.preprocess import Preprocess
from edgetl.data.folders import Example
from edgetl.data.reading import read_pixels
from edgetl.runtime.preprocess import Pixels

_SEED = 0
# Decoded larger by this much, so that a crop of half the side is hardly blurred.
_MARGIN = 1.5
_MIN_AREA, _STRETCH = 0.35, 4 / 3


def random_views(examples: Sequence[Example], spec: Preprocess) -> list[Pixels]:
    """One random crop of each picture, uint8 [size, size, 3]; unreadable ones are left out.

    35 to 100 % of the area, sides in a ratio of up to 4:3, as edgetl's recipes train with
    (random-resized crops, Szegedy et al. 2015); seeded. Raises DataError where none is left.
    """
    larger = msgspec.structs.replace(spec, size_px=round(spec.size_px * _MARGIN))
    random = np.random.default_rng(_SEED)
    views = [
        _crop(pixels, spec.size_px, random)
        for _, pixels in read_pixels(examples, larger)
        if not isinstance(pixels, DataError)
    ]
    if not views:
        raise DataError(f"None of the {len(examples)} pictures can be read.")
    return views


def _crop(pixels: Pixels, size_px: int, random: np.random.Generator) -> Pixels:
    """A random crop of a square picture, antialiased to `size_px` a side."""
    side = len(pixels)
    area = random.uniform(_MIN_AREA, 1.0)
    ratio = np.exp(random.uniform(-np.log(_STRETCH), np.log(_STRETCH)))
    width, height = (min(1.0, np.sqrt(area * r)) * side for r in (ratio, 1 / ratio))
    left, top = random.uniform(0, side - width), random.uniform(0, side - height)
    box = (left, top, left + width, top + height)
    shown = Image.fromarray(pixels).resize((size_px, size_px), Image.Resampling.BILINEAR, box=box)
    return np.asarray(shown)
