"""A connection to another machine: run programs there, remove files."""

import math
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple

from edgetl.remote.address import Address, RemoteError
from edgetl.remote.answers import MAX_ANSWER_BYTES, last_line
from edgetl.remote.content import Content, opened, read_all
from edgetl.remote.facts import SystemFacts, read_facts
from edgetl.remote.login import Login
from edgetl.remote.programs import program
from edgetl.remote.ssh_errors import lost

# ssh's own exit code if something is wrong with the connection.
SSH_FAILED = 255
_COMMAND_S = 60.0
_REMOVE_S = 3600.0
_LOOK_EVERY_S = 0.2


class StoppedError(RemoteError):
    """A command was ended because another thread wanted it."""

    def __init__(self) -> None:
        super().__init__("It was interrupted.")


class Finished(NamedTuple):
    """A command that has ended: its exit code, and what it printed."""

    code: int
    stdout: bytes
    stderr: str


class Connection:
    """A connection to a machine, as a context manager: entering it logs in.

    Args:
        address: the machine.
        ssh_config: used instead of ~/.ssh/config (`ssh -F`).

    Attributes:
        prefix: what every command on the machine begins with, e.g. sudo.

    Entering raises RemoteError, which says what to do, if the machine cannot be logged in to.
    """

    def __init__(self, address: Address, *, ssh_config: Path | None = None) -> None:
        self.address = address
        self.prefix: tuple[str, ...] = ()
        self._ssh_config = ssh_config
        self._login: Login | None = None

    def __enter__(self) -> "Connection":
        self._login = Login(self.address, self._ssh_config)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._login is not None:
            self._login.end()

    def run(
        self, argv: Sequence[str], *, stdin: Content = b"", timeout_s: float = _COMMAND_S
    ) -> Finished:
        """Run a short command on the machine, in the user's home folder.

        Args:
            argv: the program and its arguments; no shell interprets them.
            stdin: its standard input, or the path of a file with it.
            timeout_s: how long it may take.

        Raises RemoteError if the connection is lost, or the command takes longer or prints more
        than 16 MB. A command that fails is no error: see `Finished.code`.
        """
        with (
            opened(stdin) as source,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
            self.start(argv, stdin=source, stdout=out, stderr=err) as process,
        ):
            code = self.wait(process, out, timeout_s=timeout_s)
            return Finished(code, read_all(out), read_all(err).decode(errors="replace"))

    def remove(self, path: str) -> None:
        """Remove a file or folder on the machine, if it is there. Raises RemoteError.

        Args:
            path: an absolute path, but not the root folder.
        """
        if not path.startswith("/") or not path.strip("/."):
            raise ValueError(f"'{path}' is not a path to remove")
        removed = self.run(["rm", "-rf", "--", path], timeout_s=_REMOVE_S)
        if removed.code:
            raise RemoteError(
                f"'{path}' cannot be removed on '{self.address.name}': "
                f"{last_line(removed.stderr)}.",
                hint="look at its permissions there.",
            )

    def facts(self, environment: str = "none") -> SystemFacts:
        """Read what decides whether edgetl runs there.

        Args:
            environment: the name of the environment whose record is read.

        Raises RemoteError if the machine has no Python.
        """
        ran = self.run(program("facts", self.address.python, environment))
        return read_facts(ran.code, ran.stdout, last_line(ran.stderr), self.address)

    @contextmanager
    def start(
        self,
        argv: Sequence[str],
        *,
        stdin: IO[bytes] | int,
        stdout: IO[bytes] | int,
        stderr: IO[bytes] | int,
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """Start a command on the machine; leaving the block ends the ssh process that runs it.

        Args:
            argv: the program and its arguments; no shell interprets them.
            stdin, stdout, stderr: files, their descriptors, or subprocess.PIPE.
        """
        assert self._login, "the connection is not entered"
        with subprocess.Popen(
            self._login.command([*self.prefix, *argv]),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()
                if process.stdin:
                    with suppress(BrokenPipeError):  # what could not be sent any more
                        process.stdin.close()

    def wait(
        self,
        process: "subprocess.Popen[bytes]",
        printed: IO[bytes],
        *,
        timeout_s: float = math.inf,
        stop: threading.Event | None = None,
    ) -> int:
        """Wait for a command that was started; returns its exit code.

        Args:
            process: from `start`.
            printed: the file of its standard output.
            timeout_s: how long it may take.
            stop: raises StoppedError if another thread sets it.

        Raises RemoteError if the connection is lost, or the command takes longer or prints more
        than 16 MB.
        """
        deadline = time.monotonic() + timeout_s
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_EVERY_S)
            if stop is not None and stop.is_set():
                raise StoppedError
            if time.monotonic() > deadline:
                raise RemoteError(
                    f"A command on '{self.address.name}' did not end within {timeout_s:.0f} s.",
                    hint="try again; the machine or the network may be overloaded.",
                )
            if os.fstat(printed.fileno()).st_size > MAX_ANSWER_BYTES:
                raise RemoteError(f"'{self.address.name}' sent more than 16 MB.")
        assert self._login
        if process.returncode == SSH_FAILED and self._login.has_ended():
            raise lost(self.address)
        return process.returncode
