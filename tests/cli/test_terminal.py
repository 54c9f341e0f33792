"""What the terminal shows: 80 columns, colours, --wide, --verbose, and help pages to copy from."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from edgetl.cli.help import SectionedCommand
from edgetl.cli.show import table
from tests.cli.test_help import command_of, commands
from tests.cli.test_progress import on_a_terminal
from tests.making import write_class_folders

ONE = ("--engine", "onnxruntime", "--threads", 1)
MANY_OPTIONS = 7


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def too_long(text: str) -> list[str]:
    """Lines of more than 80 columns, unless they are a single word, such as a path."""
    return [line for line in text.splitlines() if len(line) > 80 and len(line.split()) > 1]


@pytest.mark.parametrize("path", [(), *commands()], ids=" ".join)
def test_help_has_examples_sections_and_defaults_in_80_columns(edgetl, path) -> None:
    page = edgetl(*path, "--help").out
    assert too_long(page) == []
    examples = page.partition("\n  Examples:\n")[2].splitlines()
    assert len(examples) >= 2
    for line in examples:
        assert line.strip().startswith("edgetl ")
    command = command_of(path)
    options = [p for p in command.params if isinstance(p, click.Option)]
    if len(options) >= MANY_OPTIONS:
        assert isinstance(command, SectionedCommand)
    flat = " ".join(page.split())
    for option in options:
        if isinstance(option.default, (str, int, float)) and not option.is_flag:
            assert f"[default: {option.default}" in flat


@pytest.mark.parametrize(
    "words",
    [
        ("recipes", "list"), ("devices", "list"), ("devices", "probe"), ("cache", "list"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_lists_fit_80_columns_or_are_wide(edgetl, words) -> None:
    narrow = edgetl(*words)
    assert narrow.code == 0, narrow.err
    assert too_long(narrow.out) == []
    wide = edgetl(*words, "--wide")
    assert len(wide.out.splitlines()) <= len(narrow.out.splitlines())
    assert sorted(wide.out.split()) == sorted(narrow.out.split())  # nothing is cut


def test_a_wide_list_has_a_line_for_each_recipe(edgetl) -> None:
    assert edgetl("recipes", "list").out != edgetl("recipes", "list", "--wide").out
    assert too_long(edgetl("recipes", "list", "--wide").out)


def test_what_is_said_of_a_bundle_fits_80_columns(edgetl, tiny_bundle, pictures) -> None:
    for words in (
        ("inspect", tiny_bundle),
        ("verify", tiny_bundle),
        ("bench", tiny_bundle, pictures / "checks", *ONE),
        ("bench", tiny_bundle, *ONE, "--mode", "throughput", "--profile"),
        ("evaluate", tiny_bundle, pictures),
    ):  # fmt: skip
        answer = edgetl(*words)
        assert answer.code == 0, answer.err
        assert too_long(answer.out) == [], words


def test_findings_about_pictures_fit_80_columns(edgetl, tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "photos", 6)
    for i in range(7):
        copy = folder / "slope" / f"a copy of the first picture of another class, {i}.png"
        copy.write_bytes((folder / "checks" / "00.png").read_bytes())
    answer = edgetl("check", folder)
    assert answer.code == 0, answer.err
    assert "identical files with different labels" in answer.out
    assert too_long(answer.out) == []
    assert too_long(edgetl("check", folder, "--wide").out)


def test_a_narrow_table_wraps_titles_then_cells_and_then_is_divided(monkeypatch) -> None:
    header = ("name", "what it is", "p50 ms")
    rows = [("one", "the first of the two", "1.50"), ("two", "the other", "12.00")]
    assert table(header, rows).splitlines()[1:] == [
        "one   the first of the two    1.50",
        "two   the other              12.00",
    ]
    monkeypatch.setenv("COLUMNS", "31")
    assert table(header, rows).splitlines() == [
        "name  what it is            p50",
        "                             ms",
        "one   the first of the     1.50",
        "      two",
        "two   the other           12.00",
    ]
    monkeypatch.setenv("COLUMNS", "24")
    first, second = table(header, rows).split("\n\n")
    assert "p50" not in first
    assert second.splitlines()[1].split() == ["one", "1.50"]


def test_colours_are_for_terminals_without_no_color() -> None:
    words = (sys.executable, "-m", "edgetl", "recipes", "show", "none")
    show = f"import subprocess; subprocess.run({list(words)!r})"
    assert "\033[" in on_a_terminal(sys.executable, "-c", show)
    assert "\033[" not in on_a_terminal(sys.executable, "-c", show, NO_COLOR="1")
    piped = subprocess.run(words, capture_output=True, text=True, check=False)
    assert piped.stderr.startswith("Error: There is no recipe 'none'.\nHint: ")


def test_verbose_says_where_an_error_was_raised(edgetl) -> None:
    plain = edgetl("recipes", "show", "none")
    assert "Traceback" not in plain.err
    verbose = edgetl("--verbose", "recipes", "show", "none")
    assert verbose.code == 1
    assert verbose.err.startswith("Traceback (most recent call last):\n")
    assert verbose.err.endswith(plain.err)


def test_quiet_and_verbose_exclude_each_other(edgetl) -> None:
    assert edgetl("-q", "-v", "recipes", "list").code == 2
