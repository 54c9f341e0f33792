"""docs/troubleshooting.md: every error that it quotes is in the program, word for word."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "troubleshooting.md"
# The first cell of a table's row, where it is in backticks.
QUOTED = re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(), re.M)


def texts() -> Iterator[str]:
    """Every string of the program, with "..." for what is filled in when it runs."""
    for path in (ROOT / "edgetl").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "..."
                    for part in node.values
                )


@pytest.fixture(scope="module")
def program() -> str:
    return "\n".join(texts())


@pytest.mark.parametrize("quoted", QUOTED)
def test_an_error_that_is_quoted_is_in_the_program(quoted: str, program: str) -> None:
    assert quoted in program


def test_rows_are_found_and_none_is_there_twice() -> None:
    rows = re.findall(r"^\| (?!error|---)", PAGE.read_text(), re.M)
    assert len(QUOTED) == len(set(QUOTED)) == len(rows) > 30
