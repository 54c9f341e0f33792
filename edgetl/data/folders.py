"""Read class folders: a folder for each class, named by its label."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from edgetl.core.errors import DataError
from edgetl.runtime.sources import is_hidden, is_picture_name

_LAYOUT = "put each class's pictures in a folder of its own: {0}/cat/*.jpg, {0}/dog/*.jpg"
PartName = Literal["train", "val", "test"]
PART_NAMES: dict[str, PartName] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


class Example(NamedTuple):
    """A picture's path and its class, as an index into the labels."""

    path: Path
    label: int


class ClassFolders(NamedTuple):
    """The labels of class folders, and every file in them that may be a picture."""

    labels: tuple[str, ...]
    examples: tuple[Example, ...]


class Unreadable(NamedTuple):
    """A file that cannot be read as a picture, and why."""

    path: Path
    reason: str


def require_folder(root: Path) -> None:
    """Raise DataError unless `root` is a folder."""
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"'{root}' {what}.", hint=_LAYOUT.format(root))


def read_class_folders(root: Path) -> ClassFolders:
    """Find `root/<class>/**/<picture>`; the labels are the sorted folder names.

    No picture is opened. Raises DataError for a missing folder, fewer than two classes, or a class
    without pictures.
    """
    require_folder(root)
    folders = _subfolders(root)
    if len(folders) < 2:
        count = f"{len(folders)} class folder{'s' if len(folders) != 1 else ''}"
        raise DataError(
            f"'{root}' has {count}; a classifier needs at least 2.", hint=_LAYOUT.format(root)
        )
    examples = [
        Example(path, index) for index, folder in enumerate(folders) for path in _files(folder)
    ]
    for index, folder in enumerate(folders):
        if not any(example.label == index for example in examples):
            raise DataError(
                f"Class folder '{folder}' holds no pictures.",
                hint="put pictures into it or remove it.",
            )
    return ClassFolders(tuple(folder.name for folder in folders), tuple(examples))


def read_labelled(root: Path, labels: Sequence[str]) -> ClassFolders:
    """Find the pictures of class folders whose classes are among `labels`, matched by name.

    A label without a folder is allowed. Raises DataError for a missing folder, a folder whose name
    is not among the labels, or no pictures at all.
    """
    require_folder(root)
    folders = _subfolders(root)
    unknown = [folder.name for folder in folders if folder.name not in labels]
    if unknown or not folders:
        what = (
            f"has a class the model does not know: '{unknown[0]}'" if unknown else "has no classes"
        )
        raise DataError(f"'{root}' {what}.", hint=f"the model's labels are: {', '.join(labels)}.")
    index = {label: i for i, label in enumerate(labels)}
    examples = [Example(p, index[folder.name]) for folder in folders for p in _files(folder)]
    if not examples:
        raise DataError(f"'{root}' holds no pictures.", hint=_LAYOUT.format(root))
    return ClassFolders(tuple(labels), tuple(examples))


def part_folders(root: Path) -> dict[PartName, Path]:
    """The train, val and test folders of `root`; empty if it has no train folder.

    `valid` and `validation` are accepted for val, and upper case for every name. Raises DataError
    if `root` is not a folder.
    """
    require_folder(root)
    named = {
        PART_NAMES[f.name.lower()]: f for f in _subfolders(root) if f.name.lower() in PART_NAMES
    }
    return named if "train" in named else {}


def _subfolders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith((".", "_")))


def _files(folder: Path) -> list[Path]:
    """Files with a picture's suffix, and files without one, which are common in data sets."""
    return sorted(
        p
        for p in folder.rglob("*")
        if p.is_file() and (is_picture_name(p) or not p.suffix) and not is_hidden(p, folder)
    )
