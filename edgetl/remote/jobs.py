"""Run commands on another machine with files that are sent there, and leave nothing behind."""

import json
import os
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from edgetl.core.errors import EdgetlError
from edgetl.remote.address import RemoteError
from edgetl.remote.answers import printable
from edgetl.remote.connection import Connection, Finished
from edgetl.remote.content import Content, chunks, measured, read_all
from edgetl.remote.facts import SystemFacts
from edgetl.remote.programs import program

# The other machine ends a job if nothing arrives for so long: a network that is gone sends no end.
_SILENCE_S = 60.0
_SIGN_EVERY_S = 10.0
# How long the other machine may take to end a command and to remove its files.
_END_S = 10.0
# How long to wait for what only ends with the login if the network is gone.
_JOIN_S = 2.0
_KEPT_LINES = 200
_LONGEST_LINE = 4096
_SPARE_BYTES = 32 * 1024 * 1024


class Job(NamedTuple):
    """What to do on another machine.

    Attributes:
        commands: programs with arguments, run one after the other until one fails.
        files: contents by name, in the folder in which the commands run; a name has at most one
            folder, e.g. "pictures/000001.jpg".
    """

    commands: Sequence[Sequence[str]]
    files: Mapping[str, Content]


def run_job(
    connection: Connection,
    facts: SystemFacts,
    job: Job,
    on_line: Callable[[str], None],
    stop: threading.Event | None = None,
) -> Finished:
    """Run a job. Its commands end with the connection, and then its files are removed.

    Args:
        connection: the connection to the machine.
        facts: of the machine.
        job: what to do there.
        on_line: called in another thread with each line that is printed to standard error.
        stop: if another thread sets it, the job is ended.

    Returns the exit code of the first command that failed, else 0; all standard output; and the
    last 200 lines of standard error. Raises RemoteError if the connection is lost, there is no
    space for the files, or more than 16 MB are printed; EdgetlError if a file cannot be read;
    StoppedError if it was stopped.
    """
    files = [(name, *measured(content)) for name, content in job.files.items()]
    size = sum(size for _, size, _ in files)
    require_space(connection, size, facts.free_bytes, facts.folder)
    header = {
        "folder": facts.folder,
        "silence_s": _SILENCE_S,
        "files": files,
        "commands": job.commands,
    }
    parts: list[tuple[Content, int]] = [(line := json.dumps(header).encode() + b"\n", len(line))]
    parts += [(job.files[name], size) for name, size, _ in files]
    sender, lines = _Sender(parts), _Lines(on_line)
    with (
        tempfile.TemporaryFile() as out,
        connection.start(
            program("job", facts.executable), stdin=sender.end, stdout=out, stderr=lines.end
        ) as process,
    ):
        sender.begin()
        lines.begin()
        try:
            code = connection.wait(process, out, stop=stop)
        except BaseException:
            # The end of its standard input is the sign for the job to end and to clean up.
            sender.stop()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
            raise
        sender.stop()
        lines.join()
        if sender.error:
            raise sender.error
        return Finished(code, read_all(out), "\n".join(lines.last))


def require_space(connection: Connection, size: int, free_bytes: int, folder: str) -> None:
    """Raises RemoteError if so many bytes do not fit into a folder of a machine."""
    if free_bytes < size + _SPARE_BYTES:
        raise RemoteError(
            f"'{connection.address.name}' has no space for {size / 1e6:.0f} MB: "
            f"{free_bytes / 1e6:.0f} MB are free in '{folder}'.",
            hint="make room there, e.g. with sudo apt clean, or send less.",
        )


class _Sender(threading.Thread):
    """Writes contents to a job's standard input, then signs of life until it is stopped.

    It has a pipe of its own, which only it closes: the ssh process that logged in also holds the
    other end, and while the network is gone, writing and closing have to wait for it.

    Attributes:
        end: what the job's process reads.
        error: why a content could not be read; the job ends then.
    """

    def __init__(self, parts: Sequence[tuple[Content, int]]) -> None:
        super().__init__(daemon=True)
        self.error: EdgetlError | None = None
        self.end, self._pipe = os.pipe()
        self._parts = parts
        self._stopped = threading.Event()

    def begin(self) -> None:
        """Start, now that the process has its end of the pipe."""
        os.close(self.end)
        self.start()

    def run(self) -> None:
        """Send everything; a process that has ended gets no more."""
        try:
            with suppress(BrokenPipeError), os.fdopen(self._pipe, "wb") as pipe:
                for content, size in self._parts:
                    for chunk in chunks(content, size):
                        pipe.write(chunk)
                        if self._stopped.is_set():
                            return
                pipe.flush()
                while not self._stopped.wait(_SIGN_EVERY_S):
                    pipe.write(b"\n")
                    pipe.flush()
        except EdgetlError as error:
            self.error = error

    def stop(self) -> None:
        """Close the pipe, at once if nothing is being written."""
        self._stopped.set()
        self.join(_JOIN_S)


class _Lines(threading.Thread):
    """Reads the lines of a job's standard error, from a pipe of its own as `_Sender` has.

    Attributes:
        end: what the job's process writes to.
        last: the last lines.
    """

    def __init__(self, on_line: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        self._pipe, self.end = os.pipe()
        self.last: deque[str] = deque(maxlen=_KEPT_LINES)
        self._on_line = on_line

    def begin(self) -> None:
        """Start, now that the process has its end of the pipe."""
        os.close(self.end)
        self.start()

    def run(self) -> None:
        """Read up to the end."""
        with os.fdopen(self._pipe, "rb") as pipe:
            while line := pipe.readline(_LONGEST_LINE):
                text = printable(line.decode(errors="replace")).strip()
                self.last.append(text)
                self._on_line(text)
