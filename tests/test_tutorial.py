"""docs/tutorial.md and README.md: their shell and Python blocks, run as they stand there.

A block is run unless it is a transcript (its first line starts with `$`), is marked as another
language than shell or Python, or follows a comment such as `<!-- not run: needs a board -->`.
Training is made quick without a change of the commands: see `QUICK_TRAINING`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.making import write_class_folders

ROOT = Path(__file__).resolve().parents[1]
TUTORIAL, README = ROOT / "docs" / "tutorial.md", ROOT / "README.md"
SHELL, PYTHON = ("", "bash", "sh"), ("python",)
REASONS = (
    "needs a board", "needs a camera and a board", "needs a network", "installs packages",
    "takes minutes",
)  # fmt: skip

# Python imports a module of this name at its start, in every process of a page's commands: every
# recipe is then that of the tests' small network, whatever else the commands say. All of them train
# the same network on the same pictures, so that only the first export is slow.
QUICK_TRAINING = """
import edgetl.workstation.user_recipe as asked
from edgetl.workstation.recipe import load_recipe, override
from tests.tiny import TINY


def tiny_recipe(name, assignments=(), **_):
    load_recipe(name)
    return override(load_recipe("edge-default"), TINY)


asked.user_recipe = tiny_recipe
"""


class Block(NamedTuple):
    """A code block of a page; `not_run`: why the test leaves it out, or nothing."""

    language: str
    code: str
    not_run: str

    @property
    def is_run(self) -> bool:
        transcript = self.code.startswith("$")
        return self.language in (*SHELL, *PYTHON) and not transcript and not self.not_run


FENCED = r"^```(?P<language>\w*)\n(?P<fenced>.*?)^```$"
INDENTED = r"(?<=\n\n)(?P<indented> {4}\S[^\n]*\n(?:(?: {4}[^\n]*)?\n)*)"
MARKER = r"(?:^<!-- not run: (?P<reason>[^>]+) -->\n\n?)?"


def blocks(text: str) -> list[Block]:
    """The fenced and the indented code blocks of a page, in order."""
    found = []
    for match in re.finditer(f"{MARKER}(?:{FENCED}|{INDENTED})", text, re.M | re.S):
        code = match["fenced"] or re.sub(r"^ {4}", "", match["indented"] or "", flags=re.M)
        found.append(Block(match["language"] or "", code, match["reason"] or ""))
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages say the reader has: photographs, a folder a class, and a few more."""
    root = tmp_path_factory.mktemp("reader")
    write_class_folders(root / "photos", 16)
    write_class_folders(root / "new-photos", 3, first_seed=100)
    shutil.copytree(root / "new-photos" / "slope", root / "folder")
    (root / "more").mkdir()
    for copy in ("photo.jpg", "more/photo.jpg"):
        shutil.copy(root / "folder" / "00.png", root / copy)
    return root


@pytest.fixture
def folder(made: Path) -> Path:
    """The reader's folder before the first command."""
    shutil.rmtree(made / "run", ignore_errors=True)
    for name in ("model.edgetl", "report.html", "bench.json"):
        (made / name).unlink(missing_ok=True)
    return made


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables with which `edgetl` and `python` are this environment's, and training is quick."""
    shim = tmp_path_factory.mktemp("quick")
    (shim / "sitecustomize.py").write_text(QUICK_TRAINING)
    own = Path(sys.executable).parent
    assert (own / "edgetl").exists(), "install the project: pip install -e ."
    return {
        **os.environ,
        "PATH": f"{own}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{shim}{os.pathsep}{ROOT}",
    }


def run_all(page: list[Block], cwd: Path, environment: dict[str, str]) -> str:
    """Run the blocks that are to be run; their output. A failing line of a block fails the test."""
    outputs = []
    for block in page:
        if not block.is_run:
            continue
        code = [sys.executable, "-c", block.code]
        command = code if block.language in PYTHON else ["bash", "-euc", block.code]
        result = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, f"{block.code}\n{result.stderr[-3000:]}"
        outputs.append(result.stdout)
    if (facts := cwd / "run" / "checkpoint.json").is_file():
        assert json.loads(facts.read_text())["preprocess"]["size_px"] == 32, "not the quick recipe"
    return "\n".join(outputs)


@pytest.mark.slow
def test_the_tutorials_commands_go_from_photographs_to_a_benchmark(
    folder: Path, environment: dict[str, str]
) -> None:
    pytest.importorskip("litert_torch")
    said = run_all(blocks(TUTORIAL.read_text()), folder, environment)
    for made in ("run/checkpoint.json", "report.html", "bench.json"):
        assert (folder / made).is_file()
    with zipfile.ZipFile(folder / "model.edgetl") as bundle:
        assert "artifacts/tflite-int8.tflite" in bundle.namelist()
    assert "photos: 48 pictures in 3 classes" in said
    assert "match their sha256" in said


@pytest.mark.slow
@pytest.mark.parametrize("languages", [SHELL, PYTHON], ids=["shell", "python"])
def test_the_readmes_blocks_run(
    languages: tuple[str, ...], folder: Path, environment: dict[str, str]
) -> None:
    pytest.importorskip("litert_torch")
    page = [block for block in blocks(README.read_text()) if block.language in languages]
    said = run_all(page, folder, environment)
    with zipfile.ZipFile(folder / "model.edgetl") as bundle:
        assert "artifacts/onnx-int8.onnx" in bundle.namelist()
    assert "slope" in said  # photo.jpg is one


@pytest.mark.parametrize("page", [TUTORIAL, README], ids=lambda page: page.name)
def test_only_what_cannot_be_run_here_is_left_out(page: Path) -> None:
    found = blocks(page.read_text())
    left_out = [block for block in found if block.not_run]
    assert {block.not_run for block in left_out} <= set(REASONS)
    assert page.read_text().count("<!-- not run:") == len(left_out)
    for block in left_out:
        assert re.search(r"\b(ssh|scp|make|pip|apt-get|demo|emulated|camera)\b", block.code), (
            block.code
        )
    assert len([block for block in found if block.is_run]) >= 3


def test_every_kind_of_block_is_found(tmp_path: Path) -> None:
    page = (
        "A page:\n\n    echo one\n\n    echo two >&2\n\nand\n\n    $ echo three\n    three\n\n"
        "```text\nfour\n```\n\n<!-- not run: needs a board -->\n\n    false\n\n"
        "<!-- not run: takes minutes -->\n```bash\nfalse\n```\n\n```python\nprint('five')\n```\n"
    )
    assert [(block.is_run, block.not_run) for block in blocks(page)] == [
        (True, ""), (False, ""), (False, ""), (False, "needs a board"), (False, "takes minutes"),
        (True, ""),
    ]  # fmt: skip
    assert run_all(blocks(page), tmp_path, dict(os.environ)) == "one\n\nfive\n"
    failing = blocks("A page:\n\n    false\n    true\n")
    with pytest.raises(AssertionError, match="false"):
        run_all(failing, tmp_path, dict(os.environ))
