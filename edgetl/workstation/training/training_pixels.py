"""Training pictures at two sizes: as the device sees them, and larger ones to take crops from.

A random crop of a third of a picture has to be enlarged if it is taken from pixels already resized
to the network's side. Training then sees blurred pictures and the device sharp ones, which ruins
accuracy if classes differ in texture. So crops are taken from the picture's original pixels.
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
from edgetl.workstation.training.distributed.ranks import ALONE, Ranks
from edgetl.workstation.training.pixel_cache import PixelSet, decode_all

# Crops are taken from pictures of at most this many times the network's side, at least 16 px.
_LARGEST_FINE, _SMALLEST_FINE_PX = 2, 16
# The pictures' size: from this many file headers, this quantile of their short sides.
_HEADERS, _MOST = 500, 0.9


class TrainingPictures(NamedTuple):
    """The training pictures at two sizes, in the same order.

    Attributes:
        whole: as the device sees them, bit for bit.
        fine: what crops are taken from; the same as `whole` if the recipe never crops.
    """

    whole: PixelSet
    fine: PixelSet

    def __len__(self) -> int:
        return len(self.whole)

    def take(self, chosen: NDArray[np.int64]) -> "TrainingPictures":
        """The pictures of some indices, int64 [n]."""
        whole = self.whole.take(chosen)
        return TrainingPictures(whole, whole if self.fine is self.whole else self.fine.take(chosen))

    @property
    def labels(self) -> NDArray[np.int64]:
        """The pictures' classes, int64 [N]; -1: a picture without a label."""
        return self.whole.labels


def decode_training(
    examples: Sequence[Example],
    spec: Preprocess,
    augment: Augment,
    progress: Progress,
    ranks: Ranks = ALONE,
    teacher_px: int = 0,
) -> tuple[TrainingPictures, list[Example], list[Unreadable]]:
    """Decode every training picture at both sizes.

    `teacher_px` is the side of a teacher's pictures, 0 without one.
    Returns and raises the same as `decode_all`; raises DataError also if a file has changed.
    """
    whole, readable, unreadable = decode_all(
        examples, spec, progress, stage="decoding train", ranks=ranks
    )
    finer = fine_spec(readable, spec, augment, teacher_px)
    if finer == spec:
        return TrainingPictures(whole, whole), readable, unreadable
    fine, fine_examples, lost = decode_all(
        readable, finer, progress, stage="decoding crops", ranks=ranks
    )
    if lost:
        raise DataError(f"'{lost[0].path}' was changed while it was read.", hint="start again.")
    return TrainingPictures(whole, fine), fine_examples, unreadable


def fine_spec(
    examples: Sequence[Example], spec: Preprocess, augment: Augment, teacher_px: int = 0
) -> Preprocess:
    """The device's preprocessing at the size that random crops are taken from.

    That is the pictures' original size, so that a crop is resampled once, but at most twice the
    network's side: even a crop of a quarter of the area then has as many pixels as the network's
    input. A teacher's side, 0 without one, may be larger.
    """
    if augment.min_area == 1 and augment.stretch == 1:
        return spec
    step = max(1, len(examples) // _HEADERS)
    sides = [_short_side(example.path) for example in examples[::step]]
    own_px = float(np.quantile(sides, _MOST)) * spec.size_px / spec.resize_px
    largest_px = max(_LARGEST_FINE * spec.size_px, teacher_px)
    size_px = round(min(largest_px, max(own_px, _SMALLEST_FINE_PX)))
    # Crops may be resampled again, which loses detail: bicubic preserves more of it.
    return msgspec.structs.replace(spec, size_px=size_px, resize="bicubic")


def _short_side(path: Path) -> int:
    try:
        header = read_header(path)
    except DataError:  # it was readable before: ignore it here, decoding reports it
        return 0
    return min(header.width_px, header.height_px)
