"""Which pictures an export is measured on, and which its int8 ranges are chosen by."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgetl.core.errors import DataError
from edgetl.core.manifest import HeldOutPart
from edgetl.core.preprocess import Preprocess
from edgetl.data.calibration import pick_balanced
from edgetl.data.folders import Example, require_folder
from edgetl.data.reading import read_pixels
from edgetl.data.split import SplitFiles, resolve
from edgetl.runtime.preprocess import Pixels
from edgetl.runtime.sources import pictures_in

CALIBRATION_IMAGES = 200
# Without labels to wait for more, a share to 0.1 points or so.
UNLABELLED_IMAGES = 1000


class HeldOut(NamedTuple):
    """Pictures a run was not trained on, and what they were set aside for."""

    examples: list[Example]
    part: HeldOutPart

    @property
    def labelled(self) -> bool:
        """Whether there is a truth to be right or wrong by."""
        return self.part != "unlabelled"


def choose_pictures(split: SplitFiles, folder: Path | None) -> tuple[HeldOut, list[Example]]:
    """What to measure on, and what int8 ranges may be chosen by; never the same pictures.

    Measured on are the test pictures where there are any, else the validation pictures. Where
    none were kept back, or the network was trained elsewhere, the folder of pictures that the
    user gives is parted in two.

    Raises DataError where there is nothing to measure on.
    """
    candidates = _unlabelled(folder) if folder else resolve(split, split.train)
    test, val = resolve(split, split.test), resolve(split, split.val)
    if test or val:
        return HeldOut(test, "test") if test else HeldOut(val, "val"), candidates
    if not folder:
        raise DataError(
            "This run kept no pictures back to measure what is exported on.",
            hint="fine-tune with a test part, --set split.test=0.2; or give --calibration a "
            "folder of pictures, labelled or not.",
        )
    if len(candidates) < 2:
        raise DataError(
            f"'{folder}' holds {len(candidates)} pictures.",
            hint="a few hundred are wanted: half to choose int8 ranges by, half to measure on.",
        )
    shuffled = pick_balanced(candidates, len(candidates), seed=0)
    calibrated = min(CALIBRATION_IMAGES, len(shuffled) // 2)
    measured = shuffled[calibrated:][:UNLABELLED_IMAGES]
    return HeldOut(measured, "unlabelled"), shuffled[:calibrated]


def _unlabelled(folder: Path) -> list[Example]:
    require_folder(folder)
    return [Example(path, 0) for path in pictures_in(folder)]


def calibration_pixels(
    spec: Preprocess, candidates: Sequence[Example], source: str
) -> list[Pixels]:
    """Pictures the int8 ranges are chosen by, prepared as on the device."""
    chosen = pick_balanced(candidates, CALIBRATION_IMAGES, seed=0)
    pixels = [p for _, p in read_pixels(chosen, spec) if not isinstance(p, DataError)]
    if not pixels:
        raise DataError(
            f"'{source}' holds no picture to choose int8 ranges by.",
            hint="give --calibration a folder of pictures like those the device will see.",
        )
    return pixels
