"""Read labelled pictures from class folders or from a CSV table."""

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
    """A data set's labels, and the examples of each of its parts.

    Attributes:
        base: the folder that picture names in records and messages are relative to.
        labels: class names, sorted; an example's class is an index into them.
        parts: "train", and "val" and "test" if the data has them. Data that is not split yet has
            the single part "all".
    """

    base: Path
    labels: tuple[str, ...]
    parts: Mapping[GivenPart, tuple[Example, ...]]


def read_source(data: Path, val: Path | None = None) -> LabelledSource:
    """Read the labels and the examples of a data set; no picture is opened.

    Args:
        data: a folder of class folders, a folder with train/val(/test) folders of class folders,
            or a CSV table.
        val: class folders or a table for validation, used instead of the validation part of
            `data`.

    Raises DataError if a folder or file is missing, or the data has fewer than two classes, a
    class without pictures, or a class in `val` or the test part that training does not have.
    """
    labels, parts = _table_parts(data) if is_table(data) else _folder_parts(data, val)
    if val:
        parts["val"] = read_examples(val, labels)
    return LabelledSource(base_folder(data), labels, parts)


def read_examples(data: Path, labels: Sequence[str]) -> tuple[Example, ...]:
    """Read all pictures of class folders or a table; their classes are indices into `labels`.

    Raises DataError if a class is not among the labels, or the data cannot be read.
    """
    if not is_table(data):
        return read_labelled(data, labels).examples
    return _numbered(data, read_table(data), labels)


def read_for_scoring(data: Path, labels: Sequence[str]) -> tuple[Example, ...]:
    """Read the examples to evaluate a model on: the test part, else the val part, else all.

    Otherwise as `read_examples`, also in the errors raised.
    """
    if is_table(data):
        rows = read_table(data)
        given = {row.part for row in rows}
        part = "test" if "test" in given else "val" if "val" in given else None
        return _numbered(data, [row for row in rows if part in (None, row.part)], labels)
    # A class may be called "train": its folder is then a class folder, not a part.
    folders = {} if "train" in labels else part_folders(data)
    return read_examples(folders.get("test") or folders.get("val") or data, labels)


def base_folder(data: Path) -> Path:
    """The folder that the picture names of `data` are relative to."""
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
            hint="mark some rows as 'train', or remove the column 'split': edgetl then splits the "
            "pictures itself.",
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
