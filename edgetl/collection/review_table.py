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
    require_folder,
)
from edgetl.core.errors import DataError
from edgetl.core.files import unwritable, write_durably
from edgetl.core.schema import to_json
from edgetl.core.tables import read_table_text

NONE_OF_THESE = "(none of these)"
"""What the table has in place of a label if a picture shows none of the classes."""

NOT_REVIEWED = "(not reviewed)"
"""What the table has in place of a label to take back what was said before."""

COLUMNS = ("picture", "label", "predicted", "probability", "unknown", "distance", "reason", "time")
# A spreadsheet takes a cell that begins with one of these for a formula, and may run it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NAMED = 10


class Applied(NamedTuple):
    """What applying a table changed.

    Attributes:
        labelled: how many pictures now have a label that they did not have before.
        none: how many are now marked as showing none of the classes.
        taken_back: how many are now as if nobody had looked.
        unchanged: how many had been reviewed so before.
        missing: how many of the table's pictures are not in the folder.
    """

    labelled: int
    none: int
    taken_back: int
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
    require_folder(folder)
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
            reviews = [
                (pictures[name], _review(text, known))
                for name, text in wanted.items()
                if name in pictures
            ]
            _require_known([review.label for _, review in reviews if review], known, table)
            changed = [
                (picture, review)
                for picture, review in reviews
                if _said(picture.record.review) != _said(review)
            ]
            for picture, review in changed:
                record = msgspec.structs.replace(picture.record, review=review)
                write_durably(picture.record_path, to_json(record).encode())
    except OSError as error:
        raise unwritable(folder, error) from error
    taken_back = sum(review is None for _, review in changed)
    none = sum(review is not None and review.label is None for _, review in changed)
    return Applied(
        labelled=len(changed) - none - taken_back,
        none=none,
        taken_back=taken_back,
        unchanged=len(reviews) - len(changed),
        missing=len(missing),
    )


def _review(text: str, known: Collection[str]) -> Review | None:
    """What a cell says. A label that looks like a formula has an apostrophe before it."""
    if text == NOT_REVIEWED:
        return None
    label: str | None = text
    if text == NONE_OF_THESE:
        label = None
    elif text not in known and text.startswith("'") and text[1:].startswith(_FORMULA):
        label = text[1:]
    return Review(label=label, time=datetime.now(timezone.utc).isoformat(timespec="seconds"))


def _said(review: Review | None) -> str | None:
    """What a review says, whenever that was."""
    return NOT_REVIEWED if review is None else review.label


def _require_known(labels: Sequence[str | None], known: Collection[str], table: Path) -> None:
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
