"""Errors and warnings on standard error."""

import os
import sys

import click

from edgetl.core.errors import EdgetlError


def print_error(error: EdgetlError, *, hint: bool = True) -> None:
    """Print what is wrong, and in a second line what to do."""
    click.echo(f"{_marked('Error', 'red')} {error}", err=True)
    if error.hint and hint:
        click.echo(f"{_marked('Hint', 'cyan')} {error.hint}", err=True)


def print_warning(text: object) -> None:
    """Print a warning as one line."""
    click.echo(f"{_marked('Warning', 'yellow')} {text}", err=True)


def _marked(word: str, colour: str) -> str:
    """The word and a colon; in colour on a terminal, unless NO_COLOR is set (no-color.org)."""
    coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    return click.style(f"{word}:", fg=colour, bold=True) if coloured else f"{word}:"
