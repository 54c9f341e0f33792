"""A list of labels as other tools leave it: one a line, or a JSON list."""

from pathlib import Path

from edgetl.core.errors import DataError
from edgetl.core.schema import from_json, read_document


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels in the order of a model's outputs.

    Args:
        path: a .json file that is a list of texts, or text with a label on each line.

    Raises DataError for fewer than two, an empty or a repeated one; SchemaError for a file that
    is none.
    """
    content = read_document(path)
    if path.suffix == ".json":
        labels = from_json(content, tuple[str, ...], where=f"'{path}'")
    else:
        labels = tuple(_decoded(content, path).rstrip("\n").split("\n"))
    labels = tuple(label.strip() for label in labels)
    if len(labels) < 2:
        raise DataError(f"'{path}' lists fewer than 2 labels.", hint="put each on its own line.")
    for number, label in enumerate(labels, 1):
        if not label:
            raise DataError(f"'{path}': label {number} is empty.")
        if label in labels[: number - 1]:
            raise DataError(
                f"'{path}': label {number}, '{label}', was there before.",
                hint="pictures are matched to labels by name: call each class differently.",
            )
    return labels


def _decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is not UTF-8 text.") from error
