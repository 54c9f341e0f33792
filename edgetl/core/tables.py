"""The text of CSV files, which other programs write."""

from pathlib import Path

from edgetl.core.errors import DataError

# A row takes about 60 bytes, so this is about a million of them.
MAX_TABLE_BYTES = 64 * 1024 * 1024


def read_table_text(file: Path) -> str:
    """Read a table's text.

    Raises DataError if it is missing, larger than `MAX_TABLE_BYTES`, or not UTF-8.
    """
    try:
        if file.stat().st_size > MAX_TABLE_BYTES:
            raise DataError(
                f"'{file}' is larger than {MAX_TABLE_BYTES // 2**20} MB.",
                hint="check that it is a table; it lists paths and labels, not the pictures.",
            )
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"'{file}' does not exist.") from error
    except OSError as error:
        raise DataError(f"'{file}' cannot be read: {error.strerror}.") from error
    try:
        return content.decode("utf-8-sig")  # spreadsheets write a byte order mark first
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"'{file}' line {line} is not UTF-8 text.", hint="save the table as UTF-8."
        ) from error
