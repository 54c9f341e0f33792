"""The labels of collected pictures as a CSV table, which a spreadsheet or the page can fill in."""

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import msgspec

from edgetl.collection.labels import known_labels
from edgetl.collection.locks import changing
from edgetl.collection.records import (
    MAX_LABEL_LENGTH,
    CollectedPicture,
    Review,
    read_contents,
)
from edgetl.core.errors import DataError
from edgetl.core.files import unwritable, write_durably
from edgetl.core.schema import to_json
from edgetl.core.tables import read_table_text

NONE_OF_THESE = "(none of these)"
"""What the table has in place of a label if a picture shows none of the classes."""

COLUMNS = ("picture", "label", "predicted", "probability", "unknown", "distance", "reason", "time")
# A spreadsheet takes a cell that begins with one of these for a formula, and may run it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NAMED = 10


class Applied(NamedTuple):
    """What applying a table changed.

    Attributes:
        labelled: how many pictures now have a label that they did not have before.
        none: how many are now marked as showing none of the classes.
        unchanged: how many had been reviewed so before.
        missing: how many of the table's pictures are not in the folder.
    """

    labelled: int
    none: int
    unchanged: int
    missing: int


def table_text(pictures: Iterable[CollectedPicture]) -> str:
    """Format a table of pictures; the column `label` is empty where nobody has looked yet.

    It begins with a byte order mark, without which spreadsheets misread letters beyond ASCII.
    """
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for _, record in pictures:
        review, answer = record.review, record.prediction
        label = "" if review is None else NONE_OF_THESE if review.label is None else review.label
        writer.writerow(
            (record.picture, _harmless(label), _harmless(answer.label),
             f"{answer.probability:.4f}",
             "" if answer.unknown is None else str(answer.unknown).lower(),
             "" if answer.distance is None else f"{answer.distance:.3f}",
             record.reason, record.time)
        )  # fmt: skip
    return "\ufeff" + file.getvalue()


def apply_table(
    folder: Path, table: Path, new_labels: Sequence[str] = (), *, skip_missing: bool = False
) -> Applied:
    """Write the labels of a table into the records of a collected folder.

    Rows without a label are left as they are. Nothing is written if anything is wrong.

    Args:
        folder: the collected folder.
        table: a CSV file with the columns `picture` and `label`, as `table_text` or the page
            writes it; its columns may also be separated by semicolons.
        new_labels: labels beside those that the folder knows.
        skip_missing: leave out pictures that are not in the folder.

    Raises DataError for names that are no picture of the folder, unknown labels, a picture with two
    labels, or a file that is not such a table; EdgetlError if the folder cannot be written.
    """
    wanted = _read_table(table)
    try:
        with changing(folder):
            pictures = {each.record.picture: each for each in read_contents(folder).pictures}
            missing = [name for name in wanted if name not in pictures]
            if missing and not skip_missing:
                raise _listed(
                    f"'{table}' names pictures that are not in '{folder}'", missing,
                    "a full folder deletes its oldest pictures: leave them out with "
                    "--skip-missing.",
                )  # fmt: skip
            known = {*known_labels(folder, pictures.values()), *new_labels}
            labels = {
                name: _label(text, known) for name, text in wanted.items() if name in pictures
            }
            _require_known(labels.values(), known, table)
            changed = [
                (pictures[name], label)
                for name, label in labels.items()
                if (review := pictures[name].record.review) is None or review.label != label
            ]
            for picture, label in changed:
                _write_review(picture, label)
    except OSError as error:
        raise unwritable(folder, error) from error
    none = sum(label is None for _, label in changed)
    return Applied(len(changed) - none, none, len(labels) - len(changed), len(missing))


def _write_review(picture: CollectedPicture, label: str | None) -> None:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    record = msgspec.structs.replace(picture.record, review=Review(label=label, time=now))
    write_durably(picture.record_path, to_json(record).encode())


def _require_known(labels: Iterable[str | None], known: Collection[str], table: Path) -> None:
    unknown = dict.fromkeys(label for label in labels if label is not None and label not in known)
    if unknown:
        raise _listed(
            f"'{table}' has labels that this folder's bundles do not know",
            list(unknown),
            f"they know: {', '.join(sorted(known)[:20])}. Add another with --new-label NAME.",
        )
    too_long = [label for label in labels if label is not None and len(label) > MAX_LABEL_LENGTH]
    if too_long:
        raise DataError(f"A label has {len(too_long[0])} letters, more than {MAX_LABEL_LENGTH}.")


def _listed(problem: str, names: Sequence[str], hint: str) -> DataError:
    shown = ", ".join(f"'{name}'" for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return DataError(f"{problem}: {shown}{more}.", hint=hint)


def _label(text: str, known: Collection[str]) -> str | None:
    """The label of a cell: a label that looks like a formula has an apostrophe before it."""
    if text == NONE_OF_THESE:
        return None
    if text not in known and text.startswith("'") and text[1:].startswith(_FORMULA):
        return text[1:]
    return text


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _read_table(table: Path) -> dict[str, str]:
    """The labels of a table by picture; rows without a label are left out."""
    text = read_table_text(table)
    first = text.partition("\n")[0]
    separator = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    wanted: dict[str, str] = {}
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        for name in ("picture", "label"):
            if name not in header:
                raise DataError(
                    f"'{table}' line 1: there is no column '{name}'.",
                    hint="`edgetl review DIR --csv labels.csv` writes such a table.",
                )
        columns = [header.index(name) for name in ("picture", "label")]
        for cells in reader:
            name, label = (cells[i].strip() if i < len(cells) else "" for i in columns)
            if not label:
                continue
            if wanted.setdefault(name, label) != label:
                raise DataError(
                    f"'{table}' line {reader.line_num}: '{name}' has label '{label}', but "
                    f"'{wanted[name]}' before.",
                    hint="remove one of the two lines.",
                )
    except csv.Error as error:
        raise DataError(f"'{table}' line {reader.line_num} is not CSV: {error}.") from error
    if not wanted:
        raise DataError(f"'{table}' has no labels.", hint="fill in the column 'label'.")
    return wanted
