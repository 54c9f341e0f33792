"""Options that several commands have."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import click

from edgetl.cli.completion import engines, names


class FiniteRange(click.FloatRange):
    """A range of numbers, without infinity and NaN, which is in any range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; a value that is none, or not in the range, is wrong usage."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"'{value}' is not a finite number.", param, ctx)
        return number


POSITIVE = FiniteRange(min=0, min_open=True)

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def engine_option(
    text: str, *, default: str = "auto", choices: Callable[[], Iterable[str]] = engines
) -> Decorator:
    """Add --engine; the shell completes `choices`."""
    return click.option(
        "--engine", default=default, show_default=True, metavar="NAME",
        shell_complete=names(choices), help=text,
    )  # fmt: skip


def artifact_option(text: str) -> Decorator:
    """Add --artifact; the help says what the default is."""
    return click.option("--artifact", default=None, metavar="NAME", help=text)


def threads_option(default: str) -> Decorator:
    """Add --threads; `default` says in words how many there are without it."""
    text = f"The engine's threads.  [default: {default}]"
    return click.option("--threads", type=int, default=None, help=text)


def budget_options(latency_of: str) -> Decorator:
    """Add --max-latency, --max-size and --max-memory; `latency_of` names what the first limits."""
    each = (
        ("--max-latency", "MS", f"Exit 3 if the p90 of {latency_of} is above MS."),
        ("--max-size", "MB", "Exit 3 if an artifact is larger."),
        ("--max-memory", "MB", "Exit 3 if peak memory is above MB."),
    )

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for name, unit, text in reversed(each):
            command = click.option(name, type=POSITIVE, metavar=unit, help=text)(command)
        return command

    return add
