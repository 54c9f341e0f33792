"""The shell completes commands, options and the names that they take."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgetl.core.shipped import shipped_names
from edgetl.workstation.backbones.catalogue import BACKBONES

PIS = [name for name in shipped_names("devices") if name.startswith("raspberry")]
BIN = Path(sys.executable).parent


def offered(words: list[str], shell: str = "bash") -> list[str]:
    """What `edgetl` answers to a shell that asks how the last word may go on."""
    asked = {
        "_EDGETL_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(["edgetl", *words]),
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),
    }
    answer = subprocess.run(
        [sys.executable, "-m", "edgetl"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.split("\n")[:-1] if answer.stdout.strip() else []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fi"], ["finetune"]),
        (["devices", "pr"], ["probe"]),
        (["bench", "m.edgetl", "--mo"], ["--mode"]),
        (["bench", "m.edgetl", "--mode", "va"], ["valid"]),
        (["cache", "prune", "pi"], ["pixels"]),
        (["finetune", "photos", "-r", "edge-"], ["edge-best", "edge-default", "edge-fast"]),
        (["finetune", "photos", "--log", "m"], ["mlflow"]),
        (["export", "run", "--target", "rasp"], PIS),
        (["run", "m.edgetl", "p.jpg", "--engine", "on"], ["onnxruntime"]),
        (["import", "w.pth", "--backbone", "mob"], [n for n in BACKBONES if n.startswith("mob")]),
        (["recipes", "show", "x"], []),
    ],
)  # fmt: skip
def test_names_are_completed(words: list[str], expected: list[str]) -> None:
    assert offered(words) == [f"plain,{name}" for name in expected]


def test_pictures_and_recipes_of_ones_own_are_files(tmp_path: Path) -> None:
    assert offered(["run", "m.edgetl", "pho"]) == ["file,pho"]
    assert offered(["finetune", "photos", "-r", "./my"]) == ["file,./my"]


def test_zsh_and_fish_get_descriptions() -> None:
    assert offered(["fi"], "zsh") == [
        "plain",
        "finetune",
        "Fine-tune a network on the pictures in DATA.",
    ]
    assert offered(["fi"], "fish") == [
        "plain,finetune\tFine-tune a network on the pictures in DATA."
    ]


def test_the_script_for_bash_completes_in_a_bash() -> None:
    script = """
eval "$(_EDGETL_COMPLETE=bash_source edgetl)" || exit 1
COMP_WORDS=(edgetl recipes li) COMP_CWORD=2
_edgetl_completion edgetl
echo "${COMPREPLY[@]}"
complete -p edgetl
"""
    answer = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout.splitlines() == [
        "list", "complete -o nosort -F _edgetl_completion edgetl",
    ], answer.stderr  # fmt: skip
