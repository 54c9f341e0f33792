"""Resolving names to pictures: files, folders and globs."""

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgetl.core.errors import DataError
from edgetl.runtime.preprocess import Picture

if TYPE_CHECKING:
    from datetime import datetime

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
)


class Source(NamedTuple):
    """A picture and the name to report it under.

    Attributes:
        name: a file's path as given, or the name of the camera or stream.
        picture: the picture.
        time: when a camera's or stream's frame arrived, in UTC; None for other pictures.
    """

    name: str
    picture: Picture
    time: "datetime | None" = None


def is_picture_name(path: Path) -> bool:
    """Whether a file has a picture's suffix and is not hidden."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether a path below `folder` is hidden or in a hidden folder, e.g. of thumbnails."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def pictures_in(folder: Path) -> list[Path]:
    """The paths of the pictures below a folder, sorted, without hidden ones."""
    return sorted(
        p
        for p in folder.rglob("*")
        if is_picture_name(p) and p.is_file() and not is_hidden(p, folder)
    )


def find_sources(names: Sequence[str]) -> Iterator[Source]:
    """The pictures that names refer to, in the order of the names.

    Args:
        names: files, folders or glob patterns.

    Raises DataError, before the first picture is yielded, for a name that matches no picture.
    """
    return iter([source for name in names for source in _expand(name)])


def _expand(name: str) -> list[Source]:
    path = Path(name)
    if path.is_dir():
        pictures = pictures_in(path)
        if not pictures:
            raise DataError(f"'{name}' holds no pictures.")
        return [Source(str(p), p) for p in pictures]
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
