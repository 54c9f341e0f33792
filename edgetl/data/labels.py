"""Read a label file as other tools write it: one label per line, or a JSON list."""

from pathlib import Path

from edgetl.core.errors import DataError
from edgetl.core.schema import from_json, read_document


def read_labels(path: Path) -> tuple[str, ...]:
    """Read the labels, in the order of the model's outputs.

    Args:
        path: a .json file with a list of strings, or a UTF-8 text file with one label per line.

    Raises DataError for fewer than two labels, an empty or a repeated label, or text that is not
    UTF-8; SchemaError for a missing file or JSON that is not a list of strings.
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
            raise DataError(
                f"'{path}': label {number} is empty.", hint="name the class or remove the line."
            )
        if label in labels[: number - 1]:
            raise DataError(
                f"'{path}': label {number}, '{label}', occurs more than once.",
                hint="give each class a different name: pictures are matched to labels by name.",
            )
    return labels


def _decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is not UTF-8 text.", hint="save it as UTF-8.") from error
