"""Receive files, run commands one after the other, and leave nothing behind.

Standard input is the connection to the machine that wants the results. When it ends, or brings
nothing for too long because the network is gone, the commands are ended and the files removed.

This file is sent to the other machine and run by its own Python: only the standard library.

Standard input is a line of JSON, then the contents of the files one after the other, then a byte
from time to time:

    {"folder": "...", "silence_s": 60, "files": [[name, bytes, sha256], ...], "commands": [[...]]}

The commands run in the folder of the files. The exit code is that of the first command that fails;
more than 128 stands for a signal.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

_CHUNK = 1 << 20
_LOOK_EVERY_S = 0.5
_GRACE_S = 2.0
_HEADER_S = 60.0
# Those of a login (ROS sets one) are for another Python.
_NOT_PASSED_ON = ("PYTHONPATH", "PYTHONHOME")


class Connection:
    """Standard input, which ends with the machine that wants the results."""

    def __init__(self) -> None:
        self.silence_s = _HEADER_S
        self._read = b""

    def _more(self) -> bytes:
        """What arrives next; nothing if the connection has ended or is silent for too long."""
        ready, _, _ = select.select([0], [], [], self.silence_s)
        return os.read(0, _CHUNK) if ready else b""

    def line(self) -> bytes:
        """A line. Exits if the connection ends before it is complete."""
        while b"\n" not in self._read:
            self._read += self._more() or sys.exit("the connection ended")
        line, _, self._read = self._read.partition(b"\n")
        return line

    def chunks(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes. Exits if the connection ends before."""
        while size:
            self._read = self._read or self._more() or sys.exit("the connection ended")
            chunk, self._read = self._read[:size], self._read[size:]
            size -= len(chunk)
            yield chunk

    def wait_for_end(self) -> None:
        """Wait until it has ended, or is silent for too long."""
        while self._more():
            pass


class Runner:
    """Runs commands until the connection ends."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._group = 0
        self._ended = False
        threading.Thread(target=self._end_with_connection, daemon=True).start()

    def run(self, command: Sequence[str], folder: Path) -> int:
        """Run a command in a process group of its own; returns its exit code."""
        environment = {k: v for k, v in os.environ.items() if k not in _NOT_PASSED_ON}
        with self._lock:
            if self._ended:
                return 1
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                env={**environment, "PYTHONUTF8": "1", "NO_COLOR": "1"},
                start_new_session=True,
            )
            self._group = process.pid
        try:
            code = process.wait()
        finally:
            self._signal(signal.SIGKILL)  # also what the command started and did not wait for
        return code if code >= 0 else 128 - code

    def _end_with_connection(self) -> None:
        self._connection.wait_for_end()
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


def receive(connection: Connection, files: Sequence[tuple[str, int, str]], folder: Path) -> None:
    """Write the files that arrive, and check their sha256."""
    for name, size, sha256 in files:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        digest = hashlib.sha256()
        with path.open("wb") as out:
            for chunk in connection.chunks(size):
                digest.update(chunk)
                out.write(chunk)
        if digest.hexdigest() != sha256:
            sys.exit(f"'{name}' arrived with another sha256")


def main() -> int:
    """Run the job on standard input; returns its exit code."""
    connection = Connection()
    job: dict[str, Any] = json.loads(connection.line())
    connection.silence_s = job["silence_s"]
    home = Path(job["folder"])
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = home / "job"
    with (home / "lock").open("w") as lock:
        wait_for_turn(lock)
        # Left by a job that was killed or by a power cut: nobody uses it any more.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            receive(connection, job["files"], folder)
            runner = Runner(connection)
            codes = (runner.run(command, folder) for command in job["commands"])
            return next((code for code in codes if code), 0)
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
