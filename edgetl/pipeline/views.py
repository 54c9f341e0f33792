"""Training pictures as a network has not seen them: through random crops."""

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from PIL import Image

from edgetl.core.errors import DataError
from edgetl.core.manifest import MeasuredPart
from edgetl.core.preprocess import MAX_SIDE_PX, Preprocess
from edgetl.data.folders import Example
from edgetl.data.reading import read_pixels
from edgetl.runtime.preprocess import Pixels
from edgetl.verify.accuracy import Reader

_SEED = 0
# Decoded larger by this much, so that a crop of half the side is hardly blurred.
_MARGIN = 1.5
_MIN_AREA, _STRETCH = 0.35, 4 / 3


def reader_of(part: MeasuredPart) -> Reader:
    """How to read pictures that int8 is compared with float on.

    Of pictures it learned a network is too sure to tell the two apart: those are cropped at random.
    """
    return read_views if part == "train" else read_pixels


def read_views(
    examples: Sequence[Example], spec: Preprocess
) -> Iterator[tuple[Example, Pixels | DataError]]:
    """Each example with one random crop, uint8 [size, size, 3], or why it cannot be read.

    35 to 100 % of the area, sides in a ratio of up to 4:3 (random-resized crops, Szegedy et al.
    2015); seeded. Tighter crops than edgetl's recipes train with: of those a network is nearly as
    sure as of whole training pictures (docs/decisions/0022-every-picture-learns.md).
    """
    larger = msgspec.structs.replace(spec, size_px=min(MAX_SIDE_PX, round(spec.size_px * _MARGIN)))
    random = np.random.default_rng(_SEED)
    for example, pixels in read_pixels(examples, larger):
        if isinstance(pixels, DataError):
            yield example, pixels
        else:
            yield example, _crop(pixels, spec.size_px, random)


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
