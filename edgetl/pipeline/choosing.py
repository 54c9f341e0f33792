"""Which pictures an export is measured on, and which its int8 is decided by."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.core.errors import DataError
from edgetl.core.manifest import MeasuredPart
from edgetl.core.preprocess import Preprocess
from edgetl.core.progress import Progress
from edgetl.data.calibration import pick_balanced
from edgetl.data.folders import Example, require_folder
from edgetl.data.reading import read_pixels
from edgetl.data.split import SplitFiles, resolve
from edgetl.runtime.preprocess import Pixels
from edgetl.runtime.sources import pictures_in
from edgetl.verify.accuracy import Reader

CALIBRATION_IMAGES = 200
CALIBRATION_SEED = 0
TUNING_IMAGES = 1000
TRIAL_IMAGES = 300
# Without labels to wait for more, a share to 0.1 points or so.
UNLABELLED_IMAGES = 1000
_FEW = 32


class HeldOut(NamedTuple):
    """Pictures that nothing of an export is decided by, and which part they are from."""

    examples: list[Example]
    part: MeasuredPart

    @property
    def labelled(self) -> bool:
        """Whether there is a truth to be right or wrong by that the network has not learned."""
        return self.part in ("test", "val")


class Chosen(NamedTuple):
    """Pictures by what they are for.

    Attributes:
        held_out: what the artifacts are measured on; in none of the others.
        calibration: what int8 ranges are chosen by.
        tuning: what an int8 network is fine-tuned on; may be the same.
        trial: what the ways to int8 are tried on, one after another.
        trial_part: "val": with labels that the network was not trained on; "train": seen through
            random crops (`edgetl.pipeline.views`); "unlabelled".
        source: where `calibration` is from.
    """

    held_out: HeldOut
    calibration: list[Example]
    tuning: list[Example]
    trial: list[Example]
    trial_part: MeasuredPart
    source: Path

    def calibration_names(self) -> tuple[str, ...]:
        """Which pictures those are, below `source` where they lie there."""
        root = self.source.resolve()
        paths = [example.path.resolve() for example in self.calibration]
        return tuple(
            path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
            for path in paths
        )


def choose_pictures(split: SplitFiles, folder: Path | None, *, refitted: bool = False) -> Chosen:
    """What to measure on, and what int8 may be decided by; never the same pictures.

    Measured on are the test pictures where there are any, else the validation pictures. Where
    none were held out, or the network was trained elsewhere, the folder of pictures that the
    user gives is parted, or a refitted network's training pictures. Ways to int8 are tried on
    validation pictures, where others are measured on, else on pictures that are not for
    calibration: training pictures, or of the folder.

    Raises DataError where there is nothing to measure on.
    """
    given = _unlabelled(folder) if folder else None
    train, val, test = (resolve(split, part) for part in (split.train, split.val, split.test))
    source = folder or Path(split.root)
    if not test and not val:
        if given is None and refitted:
            return _parted(train, "train", source)
        return _parted(given, "unlabelled", source)
    held_out = HeldOut(test, "test") if test else HeldOut(val, "val")
    candidates = train if given is None else given
    shuffled = pick_balanced(candidates, len(candidates), CALIBRATION_SEED)
    if test and val:
        calibration, trial = shuffled[:CALIBRATION_IMAGES], val
    else:
        count = min(CALIBRATION_IMAGES, -(-2 * len(shuffled) // 3))
        calibration, trial = shuffled[:count], shuffled[count:] or shuffled
    own: MeasuredPart = "train" if given is None else "unlabelled"
    return Chosen(
        held_out,
        calibration,
        shuffled[:TUNING_IMAGES],
        pick_balanced(trial, TRIAL_IMAGES, CALIBRATION_SEED),
        "val" if test and val else own,
        source,
    )


def _parted(given: list[Example] | None, part: MeasuredPart, source: Path) -> Chosen:
    """Pictures parted: two fifths to decide by, a fifth to try on, the rest to measure."""
    if given is None:
        raise DataError(
            "This run held no pictures out to measure what is exported on.",
            hint="fine-tune with a test part, --set split.test=0.2; or give --calibration a "
            "folder of pictures, labelled or not.",
        )
    if len(given) < 3:
        raise DataError(
            f"'{source}' holds {len(given)} pictures.",
            hint="a few hundred are wanted: to choose int8 ranges by, to try, and to measure on.",
        )
    shuffled = pick_balanced(given, len(given), CALIBRATION_SEED)
    decided = min(CALIBRATION_IMAGES, max(1, 2 * len(given) // 5))
    tried = decided + min(TRIAL_IMAGES, max(1, len(given) // 5))
    calibration = shuffled[:decided]
    return Chosen(
        HeldOut(shuffled[tried:][:UNLABELLED_IMAGES], part),
        calibration,
        calibration,
        shuffled[decided:tried],
        part,
        source,
    )


def _unlabelled(folder: Path) -> list[Example]:
    require_folder(folder)
    return [Example(path, 0) for path in pictures_in(folder)]


def readable(
    examples: Sequence[Example], spec: Preprocess, read: Reader = read_pixels
) -> tuple[NDArray[np.int64], list[Pixels]]:
    """Classes int64 [N], and pictures as `read` prepares them, uint8 [H, W, 3] each.

    Unreadable ones are left out. Raises DataError where none is left.
    """
    pairs = [
        (example.label, pixels)
        for example, pixels in read(examples, spec)
        if not isinstance(pixels, DataError)
    ]
    if not pairs:
        raise DataError(f"None of the {len(examples)} pictures can be read.")
    return np.array([label for label, _ in pairs], np.int64), [pixels for _, pixels in pairs]


def prepared(examples: Sequence[Example], spec: Preprocess) -> list[Pixels]:
    """The pictures as the device would see them, uint8 [H, W, 3]; unreadable ones are left out."""
    return [p for _, p in read_pixels(examples, spec) if not isinstance(p, DataError)]


def calibration_pixels(chosen: Chosen, spec: Preprocess, progress: Progress) -> list[Pixels]:
    """Pictures the int8 ranges are chosen by, prepared as on the device.

    Raises DataError where none can be read, or all are of a single colour.
    """
    pixels = prepared(chosen.calibration, spec)
    hint = "give --calibration a folder of pictures like those the device will see."
    if not pixels:
        raise DataError(f"'{chosen.source}' holds no picture to choose int8 ranges by.", hint=hint)
    if not any(np.ptp(picture, axis=(0, 1)).any() for picture in pixels):
        raise DataError(
            f"All {len(pixels)} pictures of '{chosen.source}' to choose int8 ranges by are of one "
            "colour.",
            hint=hint,
        )
    if len(pixels) < _FEW:
        progress.say(
            f"int8 ranges are chosen by only {len(pixels)} pictures; a hundred or more are better"
        )
    return pixels
