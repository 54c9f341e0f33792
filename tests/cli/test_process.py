"""What becomes of a command whose engine crashes, or that is told to end, in real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.making import draw

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes end otherwise elsewhere")


@pytest.fixture
def command(tmp_path: Path, tiny_bundle: Path) -> "Command":
    return Command(tmp_path, tiny_bundle)


class Command:
    """`edgetl run` with an onnxruntime of the test's own."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        self._folder, self._bundle = folder, bundle
        self.pid_file = folder / "pid"

    def start(self, engine: str) -> "subprocess.Popen[str]":
        """Start it; `engine` is what importing the engine does."""
        package = self._folder / "onnxruntime"
        package.mkdir()
        (package / "__init__.py").write_text(
            "import os, signal, time\nfrom pathlib import Path\n"
            f"Path({str(self.pid_file)!r}).write_text(str(os.getpid()))\n{engine}\n"
        )
        picture = self._folder / "picture.png"
        draw("checks", 0).save(picture)
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "edgetl",
                "run",
                self._bundle,
                picture,
                "--engine",
                "onnxruntime",
            ],
            env={**os.environ, "PYTHONPATH": str(self._folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def asleep(self) -> "subprocess.Popen[str]":
        """Start it with an engine that never answers; wait until it is asked."""
        process = self.start("time.sleep(600)")
        wait_for(lambda: self.pid_file.exists() and bool(self.pid_file.read_text()))
        return process

    def engine_is_there(self) -> bool:
        """Whether the process of the engine is."""
        stat = Path(f"/proc/{self.pid_file.read_text()}/stat")
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for(happened, limit_s: float = 60.0) -> None:
    for _ in range(int(limit_s / 0.05)):
        if happened():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGILL, signal.SIGABRT])
def test_an_engine_that_crashes_is_an_error_that_can_be_read(command: Command, number) -> None:
    process = command.start(f"os.kill(os.getpid(), {int(number)})")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out == ""
    assert err.splitlines() == [
        f"Error: An engine crashed ({number.name}).",
        "Hint: `edgetl bench BUNDLE` names it. Update it, or choose another with --engine.",
    ]


def test_a_process_killed_for_want_of_memory_says_so(command: Command) -> None:
    process = command.start("os.kill(os.getpid(), signal.SIGKILL)")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "most likely the memory is used up" in err


def test_ctrl_c_that_reaches_only_the_command_ends_the_engine(command: Command) -> None:
    process = command.asleep()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (130, "Interrupted.")
    assert not command.engine_is_there()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_an_engine_does_not_outlive_its_command(command: Command, number) -> None:
    process = command.asleep()
    process.send_signal(number)
    process.communicate(timeout=60)
    wait_for(lambda: not command.engine_is_there())
    assert process.returncode in (128 + number, -number)
