"""Formats tables, text, numbers and JSON documents for standard output."""

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pathlib import Path

    from edgetl.bundle.reports import Interval


# Cells up to this length, such as "102.35 to 112.36", are never wrapped: it would save little.
_UNWRAPPED = 16
_GAP = "  "
_WIDE = "edgetl.wide"

T = TypeVar("T")


def wide_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --wide, with which `line_width` is unlimited while the command runs."""

    def remember(context: click.Context, _: click.Parameter, wide: bool) -> None:
        context.meta[_WIDE] = wide

    return click.option(
        "--wide", is_flag=True, expose_value=False, callback=remember,
        help="Print each line in full, however wide the terminal is.",
    )(command)  # fmt: skip


def is_wide() -> bool:
    """Whether the running command has --wide."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_WIDE))


def line_width() -> int:
    """The number of columns that a line of text may take.

    That is $COLUMNS, else the terminal's width, else 80 (as in a pipe); no limit with --wide.
    """
    return sys.maxsize if is_wide() else shutil.get_terminal_size().columns


def paragraph(text: str, indent: str = "") -> str:
    """Wrap each line of a text at spaces to `line_width`; what follows its first line is indented.

    A word that is wider than a line is not cut.
    """
    return "\n".join("\n".join(_wrapped(line, line_width(), indent)) for line in text.splitlines())


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, keys: int = 1) -> str:
    """Format a table that fits `line_width` and holds every cell in full.

    Columns of numbers are right-aligned, others left-aligned. If the table is too wide, titles are
    wrapped at spaces, then long cells, the widest column first. If that is not enough, it is
    divided into several tables. A word that is wider than a line is not cut.

    Args:
        header: the columns' titles.
        rows: the cells of each row.
        keys: how many of the first columns are repeated in each table of a divided one.
    """
    columns = [_Column(title, [row[i] for row in rows]) for i, title in enumerate(header)]
    width = line_width()
    return "\n\n".join(_block(part, width) for part in _divided(columns, keys, width))


class _Column:
    """A column's cells, title first.

    Attributes:
        full: its width if nothing is wrapped.
        whole: its width if only the title is wrapped.
        least: its width if cells are wrapped, too.
    """

    def __init__(self, title: str, cells: Sequence[str]) -> None:
        self.cells = [title, *cells]
        self.numeric = all(map(_is_number, cells))
        longest_cell = max(map(len, cells), default=0)
        self.full = max(len(title), longest_cell)
        self.whole = max(_longest_word(title), longest_cell)
        self.least = max(min(self.whole, _UNWRAPPED), *map(_longest_word, self.cells))


def _divided(columns: list[_Column], keys: int, width: int) -> list[list[_Column]]:
    """Divide columns that do not fit into parts that do; each begins with the first `keys`."""
    if _total(column.least for column in columns) <= width:
        return [columns]
    parts = [columns[:keys]]
    for column in columns[keys:]:
        full = _total(c.whole for c in (*parts[-1], column)) > width
        if full and len(parts[-1]) > keys:
            parts.append(columns[:keys])
        parts[-1].append(column)
    return parts


def _block(columns: list[_Column], width: int) -> str:
    widths = _widths(columns, width)
    lines = []
    for row in zip(*(column.cells for column in columns), strict=True):
        wrapped = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
        for parts in zip_longest(*wrapped, fillvalue=""):
            padded = (
                part.rjust(width) if column.numeric else part.ljust(width)
                for part, column, width in zip(parts, columns, widths, strict=True)
            )
            lines.append(_GAP.join(padded).rstrip())
    return "\n".join(lines)


def _widths(columns: list[_Column], width: int) -> list[int]:
    """The columns' widths, so that they fit: the widest title is wrapped first, then cells."""
    for smallest, largest in (
        ([c.whole for c in columns], [c.full for c in columns]),
        ([c.least for c in columns], [c.whole for c in columns]),
    ):
        for limit in range(max(largest), 0, -1):
            widths = [
                max(low, min(high, limit)) for low, high in zip(smallest, largest, strict=True)
            ]
            if _total(widths) <= width:
                return widths
    return [column.least for column in columns]


def _total(widths: Iterable[int]) -> int:
    """The width of a line of columns and the gaps between them."""
    return sum(width + len(_GAP) for width in widths) - len(_GAP)


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    if len(text) <= width:  # also keeps spaces as they are
        return [text]
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def print_json(value: Any) -> None:
    """Print a value as exactly one JSON document."""
    from edgetl.core.schema import to_json

    click.echo(to_json(value), nl=False)


def print_or_write(value: T, text: Callable[[T], str], json_file: "Path | None") -> None:
    """Print a value's text and write it as JSON to a file; if that is "-", print only the JSON.

    Raises EdgetlError if the file cannot be written.
    """
    from edgetl.core.files import write_text
    from edgetl.core.schema import to_json

    if json_file and str(json_file) == "-":
        print_json(value)
        return
    click.echo(text(value))
    if json_file:
        write_text(json_file, to_json(value))


def ms(value: float | None) -> str:
    """Format milliseconds, with two decimals below 100."""
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def mb(size_bytes: int) -> str:
    """Format bytes as megabytes (10^6 bytes)."""
    return f"{size_bytes / 1e6:.1f}"


def percent(fraction: float | None) -> str:
    """Format a fraction in percent."""
    return "-" if fraction is None else f"{100 * fraction:.2f}"


def between(interval: "Interval") -> str:
    """Format an interval of fractions in percent."""
    return f"{percent(interval.low)} to {percent(interval.high)}"


def points(value: float | None) -> str:
    """Format percentage points with two decimals; a loss is positive."""
    return "-" if value is None else f"{value:.2f}"


def _is_number(text: str) -> bool:
    return text == "-" or text.lstrip("+-").replace(".", "", 1).isdigit()
