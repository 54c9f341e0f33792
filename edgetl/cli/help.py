"""The pages of `--help`: examples at the end, and options in sections."""

from collections.abc import Mapping, Sequence
from typing import Any

import click


def examples(*commands: str) -> str:
    """The end of a help page: commands to copy, each on a line of its own.

    Returns a text for click's `epilog`; \\b keeps click from joining the lines.
    """
    return "\n".join(["\b", "Examples:", *(f"  {command}" for command in commands)])


class SectionedCommand(click.Command):
    """A command with many options, which `--help` lists in sections.

    Args:
        sections: for each title, the options of the section, e.g. {"Data": ("--val",)}. Options
            that are in no section follow under "Other options".
    """

    def __init__(
        self, *args: Any, sections: Mapping[str, Sequence[str]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._sections = sections or {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections in order."""
        left = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                left[parameter.opts[-1]] = record
        for title, names in self._sections.items():
            with formatter.section(title):
                formatter.write_dl([left.pop(name) for name in names])
        with formatter.section("Other options"):
            formatter.write_dl(list(left.values()))
