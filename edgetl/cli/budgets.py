"""The options for the budgets that `export` and `bench` check a bundle against."""

from collections.abc import Callable
from typing import Any

import click

_POSITIVE = click.FloatRange(min=0, min_open=True)


def budget_options(latency_of: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add --max-latency, --max-size and --max-memory; `latency_of` names what the first limits."""
    each = (
        ("--max-latency", "MS", f"Exit 3 if the p90 of {latency_of} is above MS."),
        ("--max-size", "MB", "Exit 3 if an artifact is larger."),
        ("--max-memory", "MB", "Exit 3 if peak memory is above MB."),
    )

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for name, unit, text in reversed(each):
            command = click.option(name, type=_POSITIVE, metavar=unit, help=text)(command)
        return command

    return add
