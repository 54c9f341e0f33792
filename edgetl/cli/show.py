"""Formats tables, numbers and JSON documents for standard output."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edgetl.bundle.reports import Interval


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table; columns of numbers are right-aligned, others left-aligned."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    numeric = [all(_is_number(row[i]) for row in rows) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def print_json(value: Any) -> None:
    """Print a value as exactly one JSON document."""
    from edgetl.core.schema import to_json

    click.echo(to_json(value), nl=False)


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
