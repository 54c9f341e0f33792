import json
import subprocess
import sys

import click
import pytest

from edgetl import __version__
from edgetl.cli.main import COMMANDS, cli


def commands() -> list[tuple[str, ...]]:
    """Every command and subcommand by its path."""
    found: list[tuple[str, ...]] = []
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, inner) for inner in command.commands]
    return found


def command_of(path: tuple[str, ...]) -> click.Command:
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    return command


def options_of(path: tuple[str, ...]) -> list[str]:
    return [
        option
        for parameter in command_of(path).params
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
    ]


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_describes_itself_and_lists_its_options(edgetl, path) -> None:
    answer = edgetl(*path, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"Usage: edgetl {' '.join(path)} ")
    for option in options_of(path):
        assert option in answer.out


def test_help_lists_every_command_with_what_it_does(edgetl) -> None:
    answer = edgetl("--help")
    assert answer.code == 0
    flat = " ".join(answer.out.split())
    for name, text in COMMANDS.items():
        assert f"{name} {text}" in flat


def test_the_version_is_the_packages(edgetl) -> None:
    assert edgetl("--version").out == f"edgetl, version {__version__}\n"


def test_a_misspelt_command_suggests_the_nearest_and_is_wrong_usage(edgetl) -> None:
    answer = edgetl("finetun")
    assert (answer.code, answer.out) == (2, "")
    assert "No such command 'finetun'. Did you mean 'finetune'?" in " ".join(answer.err.split())


def test_no_arguments_and_unknown_options_are_wrong_usage(edgetl) -> None:
    assert edgetl().code == 2
    assert edgetl("run").code == 2
    assert edgetl("run", "--bogus").code == 2


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_help_imports_no_heavy_library(arguments: list[str]) -> None:
    code = (
        "import json, sys\n"
        f"sys.argv = ['edgetl', *{arguments!r}]\n"
        "from edgetl.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n"
        "    heavy = ['torch', 'numpy', 'PIL', 'onnxruntime', 'yaml', 'msgspec']\n"
        "    print(json.dumps([n for n in heavy if n in sys.modules]), file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = json.loads(result.stderr.splitlines()[-1])
    # A command's own page may import the plain data types, which are msgspec's.
    assert set(loaded) <= ({"msgspec"} if arguments[0] == "run" else set())
