"""Which pictures an export is measured on, and which its int8 is decided by."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgetl.bundle.manifest import MeasuredPart
from edgetl.bundle.preprocessing import MAX_SIDE_PX, Preprocess
from edgetl.core.errors import DataError
from edgetl.core.progress import Progress
from edgetl.data.folders import Example, require_folder
from edgetl.data.reading import read_pixels
from edgetl.data.split import SplitFiles, pick_balanced, resolve
from edgetl.evaluation.accuracy import Reader
from edgetl.runtime.preprocess import Pixels
from edgetl.runtime.sources import pictures_in

CALIBRATION_IMAGES = 200
CALIBRATION_SEED = 0
TUNING_IMAGES = 1000
TRIAL_IMAGES = 300
# Without labels to wait for more, a share to 0.1 points or so.
UNLABELLED_IMAGES = 1000
_FEW = 32
_CROP_SEED = 0
# Decoded larger by this much, so that a crop of half the side is hardly blurred.
_CROP_MARGIN = 1.5
_CROP_MIN_AREA, _CROP_STRETCH = 0.35, 4 / 3


class HeldOut(NamedTuple):
    """Pictures that nothing of an export is decided by, and which part they are from."""

    examples: list[Example]
    part: MeasuredPart

    @property
    def labelled(self) -> bool:
        """Whether there is a truth to be right or wrong by that the network has not learned."""
        return self.part in ("test", "val")


class ExportPictures(NamedTuple):
    """Pictures by what they are for.

    Attributes:
        held_out: what the artifacts are measured on; in none of the others.
        calibration: what int8 ranges are chosen by.
        tuning: what an int8 network is fine-tuned on; may be the same.
        trial: what the ways to int8 are tried on, one after another.
        trial_part: "val": with labels that the network was not trained on; "train": seen through
            random crops (`read_random_crops`); "unlabelled".
        source: where `calibration` is from.
    """

    held_out: HeldOut
    calibration: list[Example]
    tuning: list[Example]
    trial: list[Example]
    trial_part: MeasuredPart
    source: Path

    def parts(self) -> tuple[list[Example], ...]:
        """The examples for each purpose."""
        return self.held_out.examples, self.calibration, self.tuning, self.trial

    def calibration_names(self) -> tuple[str, ...]:
        """Which pictures those are, below `source` where they lie there."""
        root = self.source.resolve()
        paths = [example.path.resolve() for example in self.calibration]
        return tuple(
            path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
            for path in paths
        )


def choose_pictures(
    split: SplitFiles, folder: Path | None, *, refitted: bool = False
) -> ExportPictures:
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
    return ExportPictures(
        held_out,
        calibration,
        shuffled[:TUNING_IMAGES],
        pick_balanced(trial, TRIAL_IMAGES, CALIBRATION_SEED),
        "val" if test and val else own,
        source,
    )


def _parted(given: list[Example] | None, part: MeasuredPart, source: Path) -> ExportPictures:
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
    return ExportPictures(
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


def calibration_pixels(
    pictures: ExportPictures, spec: Preprocess, progress: Progress
) -> list[Pixels]:
    """Pictures the int8 ranges are chosen by, prepared as on the device.

    Raises DataError where none can be read, or all are of a single colour.
    """
    pixels = prepared(pictures.calibration, spec)
    hint = "give --calibration a folder of pictures like those the device will see."
    if not pixels:
        raise DataError(
            f"'{pictures.source}' holds no picture to choose int8 ranges by.", hint=hint
        )
    if not any(np.ptp(picture, axis=(0, 1)).any() for picture in pixels):
        raise DataError(
            f"All {len(pixels)} pictures of '{pictures.source}' to choose int8 ranges by are of "
            "one colour.",
            hint=hint,
        )
    if len(pixels) < _FEW:
        progress.say(
            f"int8 ranges are chosen by only {len(pixels)} pictures; a hundred or more are better"
        )
    return pixels


def reader_of(part: MeasuredPart) -> Reader:
    """How to read pictures that int8 is compared with float on.

    Of pictures it learned a network is too sure to tell the two apart: those are cropped at random.
    """
    return read_random_crops if part == "train" else read_pixels


def read_random_crops(
    examples: Sequence[Example], spec: Preprocess
) -> Iterator[tuple[Example, Pixels | DataError]]:
    """Each example with one random crop, uint8 [size, size, 3], or why it cannot be read.

    35 to 100 % of the area, sides in a ratio of up to 4:3 (random-resized crops, Szegedy et al.
    2015); seeded. Tighter crops than edgetl's recipes train with: of those a network is nearly as
    sure as of whole training pictures (docs/decisions/0022-every-picture-learns.md).
    """
    larger = msgspec.structs.replace(
        spec, size_px=min(MAX_SIDE_PX, round(spec.size_px * _CROP_MARGIN))
    )
    random = np.random.default_rng(_CROP_SEED)
    for example, pixels in read_pixels(examples, larger):
        if isinstance(pixels, DataError):
            yield example, pixels
        else:
            yield example, _crop(pixels, spec.size_px, random)


def _crop(pixels: Pixels, size_px: int, random: np.random.Generator) -> Pixels:
    """A random crop of a square picture, antialiased to `size_px` a side."""
    side = len(pixels)
    area = random.uniform(_CROP_MIN_AREA, 1.0)
    ratio = np.exp(random.uniform(-np.log(_CROP_STRETCH), np.log(_CROP_STRETCH)))
    width, height = (min(1.0, np.sqrt(area * r)) * side for r in (ratio, 1 / ratio))
    left, top = random.uniform(0, side - width), random.uniform(0, side - height)
    box = (left, top, left + width, top + height)
    shown = Image.fromarray(pixels).resize((size_px, size_px), Image.Resampling.BILINEAR, box=box)
    return np.asarray(shown)
