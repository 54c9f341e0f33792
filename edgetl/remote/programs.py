"""The programs that are sent to another machine and run by its Python."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

_FOLDER = Path(__file__).with_name("on_host")
DEFAULT_PYTHON = "python3"


def program(name: Literal["facts", "job"], python: str | None, *arguments: str) -> Sequence[str]:
    """The command that runs a file of `on_host` with these arguments on the other machine.

    Args:
        name: the file's name, without ".py".
        python: the Python there; None: python3.
        arguments: the program's arguments.
    """
    # -I: nothing in the user's home folder or environment changes what is imported.
    text = (_FOLDER / f"{name}.py").read_text(encoding="utf-8")
    return [python or DEFAULT_PYTHON, "-I", "-c", text, *arguments]
