"""Receive files, run commands one after the other, and leave nothing behind.

The commands run as long as standard input stays open. It is the connection to the machine that
wants their results: when that ends, for whatever reason, they are ended and the files are removed.

This file is sent to the other machine and run by its own Python: only the standard library.

Standard input is a line of JSON, then the contents of the files, one after the other:

    {"folder": "...", "files": [[name, bytes, sha256], ...], "commands": [[...], ...]}

The commands run in the folder of the files. The exit code is that of the first command that fails;
more than 128 stands for a signal.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

_CHUNK = 1 << 20
_LOOK_EVERY_S = 0.5
_GRACE_S = 2.0


class Runner:
    """Runs commands until the connection ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._group = 0
        self._ended = False

    def run(self, command: Sequence[str], folder: Path) -> int:
        """Run a command in a process group of its own; returns its exit code."""
        with self._lock:
            if self._ended:
                return 1
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONUTF8": "1", "NO_COLOR": "1"},
                start_new_session=True,
            )
            self._group = process.pid
        try:
            code = process.wait()
        finally:
            self._signal(signal.SIGKILL)  # also what the command started and did not wait for
        return code if code >= 0 else 128 - code

    def end_with_connection(self) -> None:
        """Wait for the end of standard input, then end what runs."""
        # Not through sys.stdin, whose lock this thread would hold while the interpreter ends.
        while os.read(0, _CHUNK):
            pass
        with self._lock:
            self._ended = True
        self._signal(signal.SIGTERM)
        time.sleep(_GRACE_S)
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._group:
            with contextlib.suppress(OSError):
                os.killpg(self._group, number)


def wait_for_turn(lock: IO[str]) -> None:
    """Wait for this machine's other jobs: two at the same time would disturb each other."""
    parent = os.getppid()
    waits = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not waits:
                print("waiting for another job on this machine", file=sys.stderr, flush=True)
            waits = True
            time.sleep(_LOOK_EVERY_S)
        else:
            return
        if os.getppid() != parent:
            sys.exit("the connection ended")


def receive(files: Sequence[tuple[str, int, str]], folder: Path) -> None:
    """Write the files that follow on standard input, and check their sha256."""
    for name, size, sha256 in files:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        digest, left = hashlib.sha256(), size
        with path.open("wb") as out:
            while left:
                chunk = sys.stdin.buffer.read(min(_CHUNK, left))
                if not chunk:
                    sys.exit(f"the connection ended before '{name}' was complete")
                digest.update(chunk)
                out.write(chunk)
                left -= len(chunk)
        if digest.hexdigest() != sha256:
            sys.exit(f"'{name}' arrived with another sha256")


def run_all(commands: Sequence[Sequence[str]], folder: Path) -> int:
    """Run the commands; returns the exit code of the first that fails, else 0."""
    runner = Runner()
    threading.Thread(target=runner.end_with_connection, daemon=True).start()
    for command in commands:
        code = runner.run(command, folder)
        if code:
            return code
    return 0


def main() -> int:
    """Run the job on standard input; returns its exit code."""
    job: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    home = Path(job["folder"])
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = home / "job"
    with (home / "lock").open("w") as lock:
        wait_for_turn(lock)
        # Left by a job that was killed or by a power cut: nobody uses it any more.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            receive(job["files"], folder)
            return run_all(job["commands"], folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def stop(number: int, _: FrameType | None) -> None:
    """Exit by an exception, so that nothing is left behind."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f"{error.filename or 'the job'}: {error.strerror}")
