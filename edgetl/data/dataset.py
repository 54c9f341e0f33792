"""Labelled pictures however they are written down: class folders, or a table that lists them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from edgetl.core.errors import DataError
from edgetl.data.folders import (
    Example,
    PartName,
    part_folders,
    read_class_folders,
    read_labelled,
)
from edgetl.data.table import TableRow, is_table, read_table

GivenPart = PartName | Literal["all"]


class LabelledSource(NamedTuple):
    """Labels, and the examples of each part.

    Attributes:
        base: the folder that a record or a message names pictures below.
        labels: sorted; an example's class is an index into these.
        parts: "train", and "val" and "test" where they are given; or "all" in place of "train"
            where the pictures are still to be parted.
    """

    base: Path
    labels: tuple[str, ...]
    parts: Mapping[GivenPart, tuple[Example, ...]]


def read_source(data: Path, val: Path | None = None) -> LabelledSource:
    """Read labelled pictures.

    Args:
        data: class folders, train/val(/test) folders of them, or a CSV table.
        val: class folders or a table that take the place of what `data` gives for validation.

    Raises DataError.
    """
    labels, parts = _table_parts(data) if is_table(data) else _folder_parts(data, val)
    if val:
        parts["val"] = read_examples(val, labels)
    return LabelledSource(base_folder(data), labels, parts)


def read_examples(data: Path, labels: Sequence[str]) -> tuple[Example, ...]:
    """All pictures of class folders or a table, numbered by `labels`.

    Raises DataError for a class that is not among the labels.
    """
    if not is_table(data):
        return read_labelled(data, labels).examples
    return _numbered(data, read_table(data), labels)


def read_for_scoring(data: Path, labels: Sequence[str]) -> tuple[Example, ...]:
    """As `read_examples`; where `data` gives parts, only the test part, else the val part.

    Raises DataError.
    """
    if is_table(data):
        rows = read_table(data)
        given = {row.part for row in rows}
        part = "test" if "test" in given else "val" if "val" in given else None
        return _numbered(data, [row for row in rows if part in (None, row.part)], labels)
    # A class may be called "train"; then the folder is no part.
    folders = {} if "train" in labels else part_folders(data)
    return read_examples(folders.get("test") or folders.get("val") or data, labels)


def base_folder(data: Path) -> Path:
    """The folder that the pictures of `data` are named below."""
    return data.parent if is_table(data) else data


def _folder_parts(
    root: Path, val: Path | None
) -> tuple[tuple[str, ...], dict[GivenPart, tuple[Example, ...]]]:
    folders = part_folders(root)
    if not folders:
        labels, examples = read_class_folders(root)
        return labels, {"all": examples}
    labels, examples = read_class_folders(folders["train"])
    parts: dict[GivenPart, tuple[Example, ...]] = {"train": examples}
    if "test" in folders:
        parts["test"] = read_labelled(folders["test"], labels).examples
    if "val" in folders and not val:
        parts["val"] = read_labelled(folders["val"], labels).examples
    return labels, parts


def _table_parts(file: Path) -> tuple[tuple[str, ...], dict[GivenPart, tuple[Example, ...]]]:
    rows = read_table(file)
    labels = tuple(sorted({row.label for row in rows}))
    if len(labels) < 2:
        raise DataError(
            f"'{file}' has 1 class, '{labels[0]}'; a classifier needs at least 2.",
            hint="the column 'label' names each picture's class.",
        )
    order: tuple[GivenPart, ...] = ("all", "train", "test", "val")
    by_part: dict[GivenPart, list[TableRow]] = {
        part: [row for row in rows if (row.part or "all") == part] for part in order
    }
    if not by_part["all"] and not by_part["train"]:
        raise DataError(
            f"'{file}' has no row of split 'train'.",
            hint="name some, or leave the column away and edgetl parts the pictures.",
        )
    return labels, {part: _numbered(file, rs, labels) for part, rs in by_part.items() if rs}


def _numbered(file: Path, rows: Sequence[TableRow], labels: Sequence[str]) -> tuple[Example, ...]:
    index = {label: i for i, label in enumerate(labels)}
    for row in rows:
        if row.label not in index:
            raise DataError(
                f"'{file}' line {row.line}: the model does not know the class '{row.label}'.",
                hint=f"the model's labels are: {', '.join(labels)}.",
            )
    return tuple(sorted(Example(row.path, index[row.label]) for row in rows))
