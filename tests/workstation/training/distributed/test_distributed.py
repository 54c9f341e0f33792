"""Several processes: each test here starts some, with a time limit, and never ends the worker."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from edgetl.workstation.training.resume import read_state  # noqa: E402
from tests.tiny import TINY  # noqa: E402
from tests.workstation.training.distributed.started import run_together  # noqa: E402

SAME_STEPS = "tests.workstation.training.distributed.same_steps"


def test_two_processes_take_the_same_steps_as_one(tmp_path: Path) -> None:
    ran = run_together("-m", SAME_STEPS, str(tmp_path))
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert len(found["differences"]) == 9
    assert max(found["differences"].values()) < 1e-9
    assert max(found["resumed"]) < 1e-9  # 2 processes, then 1; and the reverse
    assert found["shares"] == [[10, 12], [12, 14], [14, 17]]
    assert found["gathered"] == [{"rank": 0}, {"rank": 1}]
    assert found["rows"] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert found["rows of one"] == [[1, 1, 1]]
    assert found["one picture"] == 1  # scored by two processes
    assert found["refused"] == (
        "Process 1 of 2 differs from process 0 in the recipe: of 1, not of 0."
    )


def command(pictures: Path, out: Path, *more: str) -> list[str]:
    settings = [f"--set={setting}" for setting in (*TINY, "finetune.epochs=6")]
    return [
        sys.executable, "-m", "edgetl", "finetune", str(pictures), "-o", str(out), *settings,
        "--device", "cpu", *more,
    ]  # fmt: skip


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 90
    while not path.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    assert path.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_killed_process_ends_the_others_and_leaves_a_resumable_state(
    pictures: Path, tmp_path: Path
) -> None:
    """Also: every picture is decoded once, and one process alone speaks."""
    out, cache = tmp_path / "run", tmp_path / "cache"
    environment = {**os.environ, "EDGETL_CACHE": str(cache)}
    with subprocess.Popen(
        command(pictures, out, "--nproc", "2"), env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as launcher:  # fmt: skip
        try:
            wait_for(out / "resume.pt", launcher)
            children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text()
            victim = max(map(int, children.split()))
            os.kill(victim, signal.SIGKILL)
            said, errors = launcher.communicate(timeout=60)
        finally:
            launcher.kill()
    assert (launcher.returncode, said) == (1, "")
    assert errors.count("Error:") == 1
    assert "Process 1 of 2 has ended." in errors
    assert "--resume goes on, also with fewer processes" in errors
    assert not any(Path(f"/proc/{child}").exists() for child in children.split())
    indices = [json.loads(path.read_text()) for path in cache.glob("pixels/*/index.json")]
    assert max(map(len, indices)) == 60  # the other one holds the training pictures for crops
    assert all(len(index) == len(set(index)) for index in indices)
    assert read_state(out / "resume.pt", torch.device("cpu")).epoch >= 1
