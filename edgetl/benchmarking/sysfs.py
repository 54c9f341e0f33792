"""Read small files of /proc and /sys; the result is "" or None if they cannot be read."""

from pathlib import Path


def read_text(path: Path) -> str:
    """The file's text, stripped; "" if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip("\0 \n")
    except OSError:
        return ""


def read_number(path: Path) -> float | None:
    """The number in the file; None if there is none."""
    try:
        return float(read_text(path))
    except ValueError:
        return None


def read_numbers(folder: Path, pattern: str) -> list[float]:
    """The numbers in all files that match `pattern`; files without a number are left out."""
    values = [read_number(path) for path in sorted(folder.glob(pattern))]
    return [value for value in values if value is not None]


def field(text: str, name: str) -> str:
    """The value after the first `name :` in the text of a /proc file; "" if there is none."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
