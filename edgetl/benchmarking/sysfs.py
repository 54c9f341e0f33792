"""Small files of /proc and /sys. What cannot be read is empty or None."""

from pathlib import Path


def read_text(path: Path) -> str:
    """The file's text, or nothing."""
    try:
        return path.read_text(errors="replace").strip("\0 \n")
    except OSError:
        return ""


def read_number(path: Path) -> float | None:
    """The number in the file, or None."""
    try:
        return float(read_text(path))
    except ValueError:
        return None


def read_numbers(folder: Path, pattern: str) -> list[float]:
    """The numbers in all files that match; those that hold none are left out."""
    found = [read_number(path) for path in sorted(folder.glob(pattern))]
    return [value for value in found if value is not None]


def field(text: str, name: str) -> str:
    """The value behind `name :` in a /proc file."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
