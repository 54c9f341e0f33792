"""The data sets of the suite, those made from others among them."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from parts import FixedParts, at_most, fix_parts, link_parts
from PIL import Image, ImageFilter, ImageOps

from edgetl.core.errors import EdgetlError
from edgetl.core.progress import Progress
from edgetl.data.folders import part_folders, read_class_folders
from edgetl.workstation.demo import take_pictures

SOLAR_CELLS = "solar-cells"
HELD_OUT = 0.2
_STAND_INS_FROM = "trashnet"
_SMALL_PX = 64
_RATIO = 20
_FEW = 10

# From how many pictures each class has to how many are learnt from.
Thinning = Callable[[Sequence[int]], list[int]]


class PictureSet(NamedTuple):
    """A data set: its name, its folder, and how its training part is thinned out, if it is."""

    name: str
    folder: Path
    thin: Thinning | None = None


class Laid(NamedTuple):
    """One data set's parts for one seed.

    Attributes:
        root: holds train/ and test/ folders of links.
        data: the folder the pictures lie in.
        digest: hex; differs where any picture of either part is another one.
    """

    name: str
    seed: int
    root: Path
    data: Path
    digest: str
    train: int
    test: int


def find_sets(
    data: Path, work: Path, wanted: Sequence[str], stand_ins: bool, progress: Progress
) -> list[PictureSet]:
    """The sets in `data`, the solar cells, and the stand-ins where they are wanted.

    Args:
        data: holds a folder a set.
        work: where fetched and made pictures go.
        wanted: names of sets, in the order to go through them; none: all of them.
        stand_ins: whether all means the stand-ins as well.

    Raises SystemExit for a name that is no set's.
    """
    folders = sorted(path for path in data.iterdir() if path.is_dir())
    found = [PictureSet(path.name, path) for path in folders if not path.name.startswith(".")]
    made = _stand_ins(data / _STAND_INS_FROM, work) if (data / _STAND_INS_FROM).is_dir() else {}
    names = [*(one.name for one in found), SOLAR_CELLS, *made]
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise SystemExit(f"There is no set '{unknown[0]}'; there are: {', '.join(names)}.")
    chosen = wanted or [name for name in names if stand_ins or name not in made]
    if SOLAR_CELLS in chosen:
        found += _solar_cells(work, progress)
    found += [make() for name, make in made.items() if name in chosen]
    return [one for name in chosen for one in found if one.name == name]


def lay_out(one: PictureSet, seed: int, learn: int | None, measure: int | None, work: Path) -> Laid:
    """Make the folders of links for one seed, or find them from an earlier call.

    Args:
        learn, measure: at most so many pictures a class in train and test; None: all.
    """
    parts = fix_parts(one.folder, HELD_OUT, seed)
    classes = len(parts.labels)
    train, test = parts.train, parts.test
    if learn is not None:
        train = at_most(train, [learn] * classes, seed)
    if measure is not None:
        test = at_most(test, [measure] * classes, seed)
    if one.thin:
        counts = np.bincount([example.label for example in train], minlength=classes)
        train = at_most(train, one.thin(counts.tolist()), seed)
    parts = FixedParts(parts.labels, train, test)
    digest = _digest(parts, one.folder)
    root = work / "parts" / f"{one.name}-s{seed}-{digest[:12]}"
    if not root.is_dir():
        partial = root.with_name(f".{root.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        link_parts(parts, partial)
        partial.rename(root)  # whole or not there
    return Laid(one.name, seed, root, one.folder.resolve(), digest, len(train), len(test))


def _digest(parts: FixedParts, folder: Path) -> str:
    lines = [
        f"{part} {example.label} {example.path.relative_to(folder)} {example.path.stat().st_size}"
        for part, chosen in (("train", parts.train), ("test", parts.test))
        for example in chosen
    ]
    return hashlib.sha256("\n".join([*parts.labels, *lines]).encode()).hexdigest()


def _solar_cells(work: Path, progress: Progress) -> list[PictureSet]:
    folder = work / SOLAR_CELLS
    try:
        work.mkdir(parents=True, exist_ok=True)
        take_pictures(folder, progress)
    except EdgetlError as error:
        progress.say(f"{SOLAR_CELLS} are left out: {error}")
        return []
    return [PictureSet(SOLAR_CELLS, folder)]


def _stand_ins(source: Path, work: Path) -> dict[str, Callable[[], PictureSet]]:
    """What can be made of one set, and how."""
    name = source.name
    made = work / "made"

    def drawn() -> PictureSet:
        return PictureSet(f"{name}-drawn", _changed(source, made / "drawn", _draw))

    def small() -> PictureSet:
        return PictureSet(f"{name}-small", _changed(source, made / "small", _shrink))

    return {
        f"{name}-drawn": drawn,
        f"{name}-small": small,
        f"{name}-few": lambda: PictureSet(f"{name}-few", source, _few),
        f"{name}-uneven": lambda: PictureSet(f"{name}-uneven", source, uneven),
    }


def _changed(source: Path, target: Path, change: Callable[[Image.Image], Image.Image]) -> Path:
    """Class folders with each picture of `source` changed, unless an earlier call made them."""
    if target.is_dir():
        return target
    if part_folders(source):
        raise SystemExit(f"'{source}' has parts of its own; stand-ins are made of class folders.")
    labels, examples = read_class_folders(source)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for label in labels:
        (partial / label).mkdir(parents=True)
    for number, example in enumerate(examples):
        with Image.open(example.path) as picture:
            changed = change(picture.convert("RGB"))
        changed.save(partial / labels[example.label] / f"{number:06}.png")
    partial.rename(target)
    return target


def _draw(picture: Image.Image) -> Image.Image:
    """Dark lines on white, as if it had been drawn."""
    return ImageOps.invert(picture.convert("L").filter(ImageFilter.FIND_EDGES))


def _shrink(picture: Image.Image) -> Image.Image:
    """The short side at 64 px."""
    scale = _SMALL_PX / min(picture.size)
    width, height = (round(side * scale) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def _few(counts: Sequence[int]) -> list[int]:
    """Ten pictures of each class."""
    return [_FEW] * len(counts)


def uneven(counts: Sequence[int]) -> list[int]:
    """From all pictures of the largest class down to a 20th of them, in even ratios.

    A class that has fewer than its share keeps what it has.
    """
    order = sorted(range(len(counts)), key=lambda label: -counts[label])
    last = max(1, len(order) - 1)
    kept = [0] * len(counts)
    for rank, label in enumerate(order):
        share = max(counts) * _RATIO ** (-rank / last)
        kept[label] = max(1, min(counts[label], round(share)))
    return kept
