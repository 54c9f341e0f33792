"""`edgetl`: a group whose commands are imported only when they are called or described."""

import importlib
import keyword
import sys
import traceback
import warnings
from typing import Any, NoReturn, TextIO

import click

from edgetl import __version__
from edgetl.cli.help import examples
from edgetl.cli.messages import print_error, print_warning
from edgetl.core.errors import EdgetlError
from edgetl.core.plugins import PluginWarning

# Name -> its line in --help. Kept here so that --help imports no command.
COMMANDS = {
    "check": "Check a folder of pictures before training.",
    "choose": "Choose a network and a picture size for some pictures.",
    "search": "Search for better values of a recipe, with Optuna.",
    "finetune": "Fine-tune a network on a folder of pictures.",
    "import": "Make a run from a network that was trained elsewhere.",
    "evaluate": "Score a run or a bundle on a folder of pictures.",
    "export": "Turn a run into a bundle: ONNX, OpenVINO and TFLite, measured.",
    "run": "Classify pictures with a bundle.",
    "serve": "Answer pictures over HTTP, with a web page and metrics.",
    "deploy": "Run a bundle on other machines as a service, checked before and after.",
    "review": "Correct the labels of pictures that run and serve kept.",
    "drift": "Compare the answers in the field with a bundle's own.",
    "tune": "Find the fastest way to run a bundle on this machine.",
    "bench": "Time a bundle on this machine.",
    "compare": "Compare what bundles took on hosts.",
    "verify": "Check a bundle's hashes and golden samples on this machine.",
    "inspect": "Show what a bundle holds.",
    "report": "Write an HTML report, or a model card, of runs and bundles.",
    "recipes": "List or show the recipes that come with edgetl.",
    "devices": "List or show the device profiles that come with edgetl.",
    "doctor": "Show what edgetl can do on this machine, and what is missing.",
    "cache": "List or delete what edgetl keeps on disk.",
    "demo": "Make, measure and run a solar-cell classifier from public data.",
}


class LazyGroup(click.Group):
    """Imports a command's module when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of use, not in alphabetical order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None if there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        file = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        module = importlib.import_module(f"edgetl.cli.{file}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from `COMMANDS`."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; with --verbose, print the traceback of an error it ends with."""
        try:
            return super().invoke(ctx)
        except EdgetlError:
            if ctx.params["verbose"]:
                traceback.print_exc()
            raise

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Suggest the nearest command for a misspelt one."""
        from edgetl.core.schema import nearest

        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            guess = nearest(args[0], COMMANDS)
            suffix = f" Did you mean '{guess}'?" if guess else ""
            raise click.UsageError(error.message + suffix, ctx) from error


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog=examples("edgetl finetune photos/ -o run", "edgetl --quiet export run -o model.edgetl"),
)
@click.option("-q", "--quiet", is_flag=True, help="Print no progress, only warnings and errors.")
@click.option("-v", "--verbose", is_flag=True, help="After an error, print where it was raised.")
@click.version_option(__version__, prog_name="edgetl")
@click.pass_context
def cli(context: click.Context, quiet: bool, verbose: bool) -> None:
    """From a folder of photographs to a small classifier that works on the device.

    Results go to standard output, progress to standard error. Exit codes: 0 fine, 1 an error
    you can act on, 2 wrong usage, 3 a promise (hash, parity, budget) does not hold.
    """
    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose exclude each other.")
    if quiet:
        from edgetl.cli.progress import silence

        silence(context)


def main() -> None:
    """Run the command line; an EdgetlError becomes an error line, a hint and an exit code."""
    warnings.showwarning = _show_warning
    try:
        cli(prog_name="edgetl", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except EdgetlError as error:
        show_error(error)
    except BrokenPipeError:
        sys.stderr.close()  # the reader closed the pipe, as `| head` does
        sys.exit(1)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a plugin warning as one line, and other warnings as Python does."""
    if issubclass(category, PluginWarning):
        print_warning(message)
    else:
        click.echo(warnings.formatwarning(message, category, filename, lineno), err=True, nl=False)


def show_error(error: EdgetlError) -> NoReturn:
    """Print what is wrong and what to do, and exit with the error's code."""
    print_error(error)
    sys.exit(error.exit_code)
