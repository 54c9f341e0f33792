"""The pixels that are trained on: as the device sees each picture, and finer, for crops.

A random crop of a third of a picture has to be enlarged if it is taken from pixels that were
brought to the network's size before. Training then sees blurred pictures and the device sharp ones,
which is ruinous where texture carries the class. So crops are taken from the picture's own pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.errors import DataError
from edgetl.core.progress import Progress
from edgetl.data.folders import Example, Unreadable
from edgetl.runtime.preprocess import read_header
from edgetl.workstation.recipe import Augment
from edgetl.workstation.training.pixel_cache import PixelSet, decode_all

# Crops are taken from rows of at most this many times the network's side, and at least 16 px.
_LARGEST_FINE, _SMALLEST_FINE_PX = 2, 16
# So many headers say how large the pictures are, and so many pictures are no larger than that.
_HEADERS, _MOST = 500, 0.9


class TrainingPictures(NamedTuple):
    """The pictures that are trained on, in the same order twice.

    Attributes:
        whole: as the device sees them, bit for bit.
        fine: what crops are taken from; the same as `whole` where a recipe never crops.
    """

    whole: PixelSet
    fine: PixelSet

    def __len__(self) -> int:
        return len(self.whole)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The pictures' classes, int64 [N]."""
        return self.whole.labels


def decode_training(
    examples: Sequence[Example], spec: Preprocess, augment: Augment, progress: Progress
) -> tuple[TrainingPictures, list[Example], list[Unreadable]]:
    """Both rows of every training picture; see `decode_all` for what is returned and raised."""
    whole, kept, unreadable = decode_all(examples, spec, progress, stage="decoding train")
    finer = fine_spec(kept, spec, augment)
    if finer == spec:
        return TrainingPictures(whole, whole), kept, unreadable
    fine, still, lost = decode_all(kept, finer, progress, stage="decoding crops")
    if lost:
        raise DataError(f"'{lost[0].path}' was changed while it was read.", hint="start again.")
    return TrainingPictures(whole, fine), still, unreadable


def fine_spec(examples: Sequence[Example], spec: Preprocess, augment: Augment) -> Preprocess:
    """The device's preprocessing at the size that random crops are taken from.

    That is the pictures' own size, so that a crop is resampled once, but at most twice the
    network's side: a crop of a quarter of the area then still has a pixel of its own for each one
    of the network's.
    """
    if augment.min_area == 1 and augment.stretch == 1:
        return spec
    step = max(1, len(examples) // _HEADERS)
    sides = [_short_side(example.path) for example in examples[::step]]
    own_px = float(np.quantile(sides, _MOST)) * spec.size_px / spec.resize_px
    size_px = round(min(_LARGEST_FINE * spec.size_px, max(own_px, _SMALLEST_FINE_PX)))
    # They may be resampled once more, as crops: bicubic leaves more of what that takes.
    return msgspec.structs.replace(spec, size_px=size_px, resize="bicubic")


def _short_side(path: Path) -> int:
    try:
        header = read_header(path)
    except DataError:  # it was decoded before, so its row tells no more than this
        return 0
    return min(header.width_px, header.height_px)
