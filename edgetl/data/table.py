"""Read a CSV table of labelled pictures: columns `path` and `label`, and optionally `split`."""

import csv
import io
import os.path
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from edgetl.core.errors import DataError
from edgetl.core.schema import unknown_choice_hint
from edgetl.core.tables import read_table_text
from edgetl.data.folders import PART_NAMES, PartName

_HEADER_HINT = "the first line names the columns, separated by commas, e.g. path,label"


class TableRow(NamedTuple):
    """One picture of a table.

    Attributes:
        line: the line of the file, counted from 1.
        path: the picture, with the table's folder in front of a relative path.
        label: its class.
        part: from the column `split`; None if the table does not have it.
    """

    line: int
    path: Path
    label: str
    part: PartName | None


def is_table(data: Path) -> bool:
    """Whether `data` names a table: it ends in .csv and is not a folder."""
    return data.suffix.lower() == ".csv" and not data.is_dir()


def read_table(file: Path) -> list[TableRow]:
    """Read a table; its paths are relative to its folder.

    Absolute paths and `..` are allowed: users list files of their own, and the files are only
    read. A picture that is listed twice with the same label and split counts once.

    Raises DataError, which names the line, for a missing column or file, an empty path or label,
    an unknown split, a picture with two labels or in two splits, and text that is not CSV in
    UTF-8; also for a table that is missing, empty or larger than 64 MB.
    """
    rows = list(_rows(file))
    if not rows:
        raise DataError(f"'{file}' lists no pictures.", hint=_HEADER_HINT)
    missing = [row for row in rows if not _is_file(row.path)]
    if missing:
        others = f", nor are {len(missing) - 1} others in the table" if len(missing) > 1 else ""
        raise DataError(
            f"'{file}' line {missing[0].line}: '{missing[0].path}' is not a file{others}.",
            hint=f"correct the paths; they are relative to '{file.parent}'.",
        )
    return _without_repeats(file, rows)


def _rows(file: Path) -> Iterator[TableRow]:
    reader = csv.reader(io.StringIO(read_table_text(file), newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        columns = {name: header.index(name) for name in ("path", "label") if name in header}
        for name in ("path", "label"):
            if name not in columns:
                raise DataError(f"'{file}' line 1: there is no column '{name}'.", hint=_HEADER_HINT)
        split = header.index("split") if "split" in header else None
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue  # many editors leave an empty line at the end
            where = f"'{file}' line {reader.line_num}"
            path, label = (_cell(cells, columns[name], name, where) for name in columns)
            part = None if split is None else _part(_cell(cells, split, "split", where), where)
            yield TableRow(reader.line_num, file.parent / path, label, part)
    except csv.Error as error:
        raise DataError(f"'{file}' line {reader.line_num} is not CSV: {error}.") from error


def _cell(cells: list[str], column: int, name: str, where: str) -> str:
    text = cells[column].strip() if column < len(cells) else ""
    if not text:
        raise DataError(f"{where} has no {name}.", hint="fill it in or remove the line.")
    return text


def _part(text: str, where: str) -> PartName:
    name = PART_NAMES.get(text.lower())
    if name is None:
        raise DataError(
            f"{where}: there is no split '{text}'.",
            hint=unknown_choice_hint(text.lower(), ("train", "val", "test")),
        )
    return name


def _is_file(path: Path) -> bool:
    # Path.is_file raises an error for a path with a zero byte in some versions of Python.
    return "\0" not in str(path) and path.is_file()


def _without_repeats(file: Path, rows: list[TableRow]) -> list[TableRow]:
    first: dict[str, TableRow] = {}
    for row in rows:
        before = first.setdefault(os.path.normpath(row.path), row)
        for name, one, other in (
            ("label", before.label, row.label),
            ("split", before.part, row.part),
        ):
            if one != other:
                raise DataError(
                    f"'{file}' line {row.line}: '{row.path}' has {name} '{other}', "
                    f"but '{one}' in line {before.line}.",
                    hint="remove one of the two lines.",
                )
    return list(first.values())
