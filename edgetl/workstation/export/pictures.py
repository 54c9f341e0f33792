"""The choice of pictures to measure an export on, and of those that int8 is calibrated with."""

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
STATISTICS_IMAGES = 1000
# Enough to measure agreement, which needs no labels, in steps of 0.1 percentage points.
UNLABELLED_IMAGES = 1000
_FEW = 32
_CROP_SEED = 0
# Pictures are decoded this much larger than the input, so that resizing a crop of half the side
# hardly blurs it.
_CROP_MARGIN = 1.5
_CROP_MIN_AREA, _CROP_STRETCH = 0.35, 4 / 3


class HeldOut(NamedTuple):
    """Pictures that no decision of the export depends on, and the part they are from."""

    examples: list[Example]
    part: MeasuredPart

    @property
    def labelled(self) -> bool:
        """Whether the pictures have labels and the network was not trained on them."""
        return self.part in ("test", "val")


class ExportPictures(NamedTuple):
    """The pictures of an export by their purpose.

    Attributes:
        held_out: the artifacts are measured on these; they are in none of the others.
        calibration: int8 ranges are chosen on these.
        tuning: the int8 network is fine-tuned on these; may overlap `calibration` and `trial`.
        trial: the candidates for int8 are evaluated on these.
        training: the statistics of the classes' features are fitted to these, with their classes;
            empty if the network was trained elsewhere.
        trial_part: where `trial` is from. "val": labelled and not trained on; "train": training
            pictures, read as random crops (`read_random_crops`); "unlabelled": without labels.
        source: the folder that `calibration` is from.
    """

    held_out: HeldOut
    calibration: list[Example]
    tuning: list[Example]
    trial: list[Example]
    training: list[Example]
    trial_part: MeasuredPart
    source: Path

    def parts(self) -> tuple[list[Example], ...]:
        """The examples for each purpose."""
        return self.held_out.examples, self.calibration, self.tuning, self.trial, self.training

    def calibration_names(self) -> tuple[str, ...]:
        """The calibration pictures' paths relative to `source`, or file names if outside of it."""
        root = self.source.resolve()
        paths = [example.path.resolve() for example in self.calibration]
        return tuple(
            path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
            for path in paths
        )


def choose_pictures(
    split: SplitFiles, folder: Path | None, *, refitted: bool = False
) -> ExportPictures:
    """Choose the pictures to measure on and those that int8 may depend on; they never overlap.

    The artifacts are measured on the test pictures if there are any, else on the validation
    pictures. If there are neither, because none were held out or the network was trained
    elsewhere, `folder` is divided; without `folder`, a refitted network's training pictures are.
    Candidates for int8 are evaluated on the validation pictures if there are test pictures, too;
    else on pictures that are not used for calibration, from `folder` or the training part.

    Args:
        split: which picture was in which part of the run.
        folder: unlabelled pictures to use for calibration; None: training pictures.
        refitted: whether the network was trained again on every picture after it was measured.

    Raises DataError if there is nothing to measure on.
    """
    given = _unlabelled(folder) if folder else None
    train, val, test = (resolve(split, part) for part in (split.train, split.val, split.test))
    source = folder or Path(split.root)
    training = pick_balanced(train, STATISTICS_IMAGES, CALIBRATION_SEED)
    if not test and not val:
        if given is None and refitted:
            return _divided(train, training, "train", source)
        return _divided(given, training, "unlabelled", source)
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
        training,
        "val" if test and val else own,
        source,
    )


def _divided(
    given: list[Example] | None, training: list[Example], part: MeasuredPart, source: Path
) -> ExportPictures:
    """Divide pictures: two fifths for calibration, a fifth for trials, the rest to measure on."""
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
    trial_start = min(CALIBRATION_IMAGES, max(1, 2 * len(given) // 5))
    trial_end = trial_start + min(TRIAL_IMAGES, max(1, len(given) // 5))
    calibration = shuffled[:trial_start]
    return ExportPictures(
        HeldOut(shuffled[trial_end:][:UNLABELLED_IMAGES], part),
        calibration,
        calibration,
        shuffled[trial_start:trial_end],
        training,
        part,
        source,
    )


def _unlabelled(folder: Path) -> list[Example]:
    require_folder(folder)
    return [Example(path, 0) for path in pictures_in(folder)]


def readable(
    examples: Sequence[Example], spec: Preprocess, read: Reader = read_pixels
) -> tuple[NDArray[np.int64], list[Pixels]]:
    """Return the classes, int64 [N], and the pictures as `read` prepares them, uint8 [H, W, 3].

    Unreadable pictures are left out. Raises DataError if none is readable.
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
    """Preprocess pictures as on the device, uint8 [H, W, 3]; unreadable ones are left out."""
    return [p for _, p in read_pixels(examples, spec) if not isinstance(p, DataError)]


def calibration_pixels(
    pictures: ExportPictures, spec: Preprocess, progress: Progress
) -> list[Pixels]:
    """Return the calibration pictures, uint8 [H, W, 3] each, preprocessed as on the device.

    Raises DataError if none can be read, or each is of a single colour.
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
    """Return the function that reads a part's pictures to compare int8 with float on them.

    Training pictures are cropped at random: on whole ones the network is so confident that int8
    and float hardly differ.
    """
    return read_random_crops if part == "train" else read_pixels


def read_random_crops(
    examples: Sequence[Example], spec: Preprocess
) -> Iterator[tuple[Example, Pixels | DataError]]:
    """Yield each example with one random crop, uint8 [size, size, 3], or why it cannot be read.

    A crop has 35 to 100 % of the area, and sides in a ratio of up to 4:3 (random-resized crops,
    Szegedy et al. 2015); the crops are seeded. They are tighter than those of edgetl's training
    recipes, on which a network is nearly as confident as on whole training pictures
    (docs/decisions/0022-every-picture-learns.md).
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
    """Crop a square picture at random and resize it with antialiasing to `size_px` a side."""
    side = len(pixels)
    area = random.uniform(_CROP_MIN_AREA, 1.0)
    ratio = np.exp(random.uniform(-np.log(_CROP_STRETCH), np.log(_CROP_STRETCH)))
    width, height = (min(1.0, np.sqrt(area * r)) * side for r in (ratio, 1 / ratio))
    left, top = random.uniform(0, side - width), random.uniform(0, side - height)
    box = (left, top, left + width, top + height)
    resized = Image.fromarray(pixels).resize((size_px, size_px), Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized)
