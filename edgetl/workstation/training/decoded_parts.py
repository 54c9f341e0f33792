"""The decoded pictures of a run's parts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.errors import DataError
from edgetl.core.progress import Progress
from edgetl.data.folders import Example, Unreadable
from edgetl.data.split import Parts
from edgetl.workstation.recipe import Recipe
from edgetl.workstation.training.distributed.ranks import ALONE, Ranks
from edgetl.workstation.training.pixel_cache import PixelSet, decode_all
from edgetl.workstation.training.setup import Adapting
from edgetl.workstation.training.training_pixels import TrainingPictures, decode_training


class PixelParts(NamedTuple):
    """The decoded pictures of each part; None if there is no such part.

    Attributes:
        train: those with labels.
        everything: `train`, and behind it the pictures without labels.
    """

    train: TrainingPictures
    val: PixelSet | None
    test: PixelSet | None
    everything: TrainingPictures

    @property
    def adapting(self) -> Adapting:
        """For a run whose pictures without labels are of another place."""
        without = np.arange(len(self.train), len(self.everything))
        return Adapting(self.everything.whole.take(without), self.everything)


def decode_parts(
    parts: Parts,
    spec: Preprocess,
    recipe: Recipe,
    progress: Progress,
    ranks: Ranks = ALONE,
    teacher_px: int = 0,
) -> tuple[PixelParts, Parts, list[Unreadable]]:
    """Decode the pictures of every part; see `decode_training` for `teacher_px`.

    Returns the pixels, the parts without unreadable pictures, and the unreadable pictures.
    Raises DataError if a class has no readable training picture.
    """
    unlabelled = [Example(path, -1) for each in parts.unlabelled for path in each.pictures]
    everything, examples, unreadable = decode_training(
        [*parts.train, *unlabelled], spec, recipe.augmentation, progress, ranks, teacher_px
    )
    train_examples = [example for example in examples if example.label >= 0]

    def decode(name: str) -> tuple[PixelSet | None, list[Example]]:
        examples: list[Example] = getattr(parts, name)
        if not examples:
            return None, []
        pixels, readable, bad = decode_all(
            examples, spec, progress, stage=f"decoding {name}", ranks=ranks
        )
        unreadable.extend(bad)
        return pixels, readable

    val, val_examples = decode("val")
    test, test_examples = decode("test")
    _require_classes(parts.labels, train_examples)
    readable = parts._replace(train=train_examples, val=val_examples, test=test_examples)
    train = everything.take(np.arange(len(train_examples))) if unlabelled else everything
    return PixelParts(train, val, test, everything), readable, unreadable


def _require_classes(labels: Sequence[str], examples: Sequence[Example]) -> None:
    present = {example.label for example in examples}
    for index, label in enumerate(labels):
        if index not in present:
            raise DataError(f"No training picture of class '{label}' can be read.")
