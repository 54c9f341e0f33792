"""Download a public data set through torchvision and lay it out once as class folders."""

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torchvision
from PIL import Image

from edgetl.core.errors import EdgetlError, first_line
from edgetl.core.files import cache_folder, make_folder, unwritable, write_text
from edgetl.core.progress import Progress
from edgetl.core.quiet import quiet
from edgetl.core.schema import Frozen, to_json
from edgetl.workstation.datasets.catalogue import ConstructorOptions, KnownSet, known_set

# Marks a complete folder; one without it was interrupted and is made again.
FINISHED_FILE = "finished.json"


class Prepared(Frozen, kw_only=True, frozen=True):
    """`finished.json`: what was laid out, and by which version of torchvision.

    `pictures` is the number in each part; the part "" is the whole of a set without parts.
    """

    name: str
    torchvision: str
    pictures: dict[str, int]


def prepare(name: str, progress: Progress) -> Path:
    """Download a data set and lay it out as class folders, inside train/val/test if it has parts.

    Returns the folder, in edgetl's cache, so that the work is done once. Original picture files
    are copied unchanged if the set has them; arrays become PNG files.

    Raises EdgetlError for an unknown name, or if the set cannot be downloaded or laid out.
    """
    known = known_set(name)
    folder = cache_folder() / "datasets" / name
    if (folder / FINISHED_FILE).is_file():
        return folder
    raw = _raw(name)
    make_folder(raw)
    opened = {}
    with progress.stage(f"fetching {name}", len(known.parts), "parts") as shown:
        for part, options in known.parts.items():
            opened[part] = _open(name, known, options, raw)
            shown.advance()
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}.") as temporary:
            made = Path(temporary) / name
            counts = {
                part: _lay_out(dataset, _class_names(dataset, known), made / part, name, progress)
                for part, dataset in opened.items()
            }
            record = Prepared(name=name, torchvision=torchvision.__version__, pictures=counts)
            write_text(made / FINISHED_FILE, to_json(record))
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    shutil.rmtree(raw, ignore_errors=True)  # duplicates of the laid-out pictures
    return folder


def _raw(name: str) -> Path:
    """Where torchvision stores the published files of a set, until they are laid out."""
    return cache_folder() / "datasets" / "raw" / name


def _open(name: str, known: KnownSet, options: ConstructorOptions, raw: Path) -> Any:
    """Open one part of a set, downloading it if it is not in `raw` yet."""
    # With `Path` as loader, the set returns the paths of its files and decodes nothing.
    arguments = {**options, "loader": Path} if known.keeps_files else options
    try:
        with quiet():
            return getattr(torchvision.datasets, name)(str(raw), download=True, **arguments)
    except ImportError as error:
        raise EdgetlError(
            f"torchvision:{name} needs '{error.name}', which is not installed here.",
            hint=f"pip install {error.name}",
        ) from error
    except Exception as error:  # for a bad file torchvision raises many types, also assertions
        raise EdgetlError(
            f"torchvision:{name} cannot be downloaded: {first_line(error).rstrip('.')}.",
            hint=f"go online once, or copy its files to '{raw}' as torchvision lays them out; "
            "remove that folder first if a download broke off.",
        ) from error


def _lay_out(
    dataset: Any, names: Sequence[str], folder: Path, name: str, progress: Progress
) -> int:
    with progress.stage(f"laying out {name}", len(dataset), "pictures") as shown:
        for index in range(len(dataset)):
            picture, label = _picture(dataset, index, name)
            target = folder / names[label] / f"{index:06}"
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(picture, Image.Image):
                picture.save(target.with_suffix(".png"))
            else:
                shutil.copyfile(picture, target.with_suffix(Path(picture).suffix))
            shown.advance()
    return len(dataset)


def _picture(dataset: Any, index: int, name: str) -> tuple[Any, int]:
    """A picture, or the path of its file, and its label."""
    try:
        picture, label = dataset[index]
        if not isinstance(picture, Image.Image):
            Path(picture).stat()
    except OSError as error:
        what = error.filename or f"picture {index}"
        why = error.strerror or first_line(error)  # a damaged picture has no system error
        raise EdgetlError(
            f"torchvision:{name} is not whole: '{what}' cannot be read ({why}).",
            hint=f"remove '{_raw(name)}' and try again.",
        ) from error
    return picture, int(label)


def _class_names(dataset: Any, known: KnownSet) -> list[str]:
    """One folder name per class, in the set's order; sets without class names get numbers."""
    if known.classes:
        return [f"{i:0{len(str(known.classes - 1))}}" for i in range(known.classes)]
    # Imagenette names a class by all its synonyms.
    given = [c if isinstance(c, str) else c[0] for c in dataset.classes]
    names = [folder_name(text) for text in given]
    twice = {name for name, count in Counter(map(str.casefold, names)).items() if count > 1}
    return [f"{n} {i}" if n.casefold() in twice else n for i, n in enumerate(names)]


def folder_name(label: str) -> str:
    """Turn a class name into a folder name: `T-shirt/top` -> `T-shirt-top`.

    Never empty, hidden, or with a character that is special to file systems or shells.
    """
    plain = re.sub(r"[^\w .+()'&-]+", "-", label).strip(" .-_")
    return plain[:100] or "class"
