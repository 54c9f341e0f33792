"""What the user names -> the pictures meant: files, folders, globs, and - for standard input."""

import glob
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from edgetl.core.errors import DataError
from edgetl.runtime.preprocess import Picture

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
)


class Source(NamedTuple):
    """A picture and what to call it."""

    name: str
    picture: Picture


def is_picture_name(path: Path) -> bool:
    """Whether a file's name says it is a picture (hidden files never are)."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether a path below `folder` is hidden or lies in a hidden folder, e.g. of thumbnails."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def pictures_in(folder: Path) -> list[Path]:
    """The pictures below a folder, in sorted order; hidden ones are left out."""
    return sorted(
        p
        for p in folder.rglob("*")
        if is_picture_name(p) and p.is_file() and not is_hidden(p, folder)
    )


def find_sources(names: Sequence[str]) -> Iterator[Source]:
    """Every picture the names stand for, in the order given.

    Raises DataError for a name that stands for none, before the first picture is yielded.
    """
    return iter([source for name in names for source in _expand(name)])


def _expand(name: str) -> list[Source]:
    if name == "-":
        return [Source("-", _from_stdin())]
    path = Path(name)
    if path.is_dir():
        found = pictures_in(path)
        if not found:
            raise DataError(f"'{name}' holds no pictures.")
        return [Source(str(p), p) for p in found]
    if path.exists():
        return [Source(name, path)]
    matches = sorted(
        p
        for p in glob.glob(name, recursive=True)  # noqa: PTH207 - the pattern may be absolute
        if Path(p).is_file()
    )
    if not matches:
        raise DataError(f"'{name}' does not exist.")
    return [Source(match, Path(match)) for match in matches]


def _from_stdin() -> bytes:
    content = sys.stdin.buffer.read()
    if not content:
        raise DataError("Standard input is empty.", hint="e.g. cat photo.jpg | edgetl run BUNDLE -")
    return content
