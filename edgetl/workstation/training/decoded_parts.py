"""The decoded pictures of a run's parts."""

from collections.abc import Sequence
from typing import NamedTuple

from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.errors import DataError
from edgetl.core.progress import Progress
from edgetl.data.folders import Example, Unreadable
from edgetl.data.split import Parts
from edgetl.workstation.recipe import Recipe
from edgetl.workstation.training.pixel_cache import PixelSet, decode_all
from edgetl.workstation.training.training_pixels import TrainingPictures, decode_training


class PixelParts(NamedTuple):
    """The decoded pictures of each part; None where there is none."""

    train: TrainingPictures
    val: PixelSet | None
    test: PixelSet | None


def decode_parts(
    parts: Parts, spec: Preprocess, recipe: Recipe, progress: Progress
) -> tuple[PixelParts, Parts, list[Unreadable]]:
    """Decode every part. Returns the pixels, the parts without unreadable pictures, and those.

    Raises DataError where a class has no training picture left.
    """
    train, train_kept, unreadable = decode_training(
        parts.train, spec, recipe.augmentation, progress
    )

    def decode(name: str) -> tuple[PixelSet | None, list[Example]]:
        examples: list[Example] = getattr(parts, name)
        if not examples:
            return None, []
        pixels, kept, bad = decode_all(examples, spec, progress, stage=f"decoding {name}")
        unreadable.extend(bad)
        return pixels, kept

    val, val_kept = decode("val")
    test, test_kept = decode("test")
    _require_classes(parts.labels, train_kept)
    kept = Parts(parts.labels, train_kept, val_kept, test_kept)
    return PixelParts(train, val, test), kept, unreadable


def _require_classes(labels: Sequence[str], kept: Sequence[Example]) -> None:
    found = {example.label for example in kept}
    for index, label in enumerate(labels):
        if index not in found:
            raise DataError(f"No training picture of class '{label}' can be read.")
