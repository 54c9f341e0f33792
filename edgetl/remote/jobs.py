"""Run commands on another machine with files that are sent there, and leave nothing behind."""

import json
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

# How long the other machine may take to end a command and to remove its files.
_END_S = 10.0
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
    _require_space(facts, sum(size for _, size, _ in files), connection)
    header = {"folder": facts.folder, "files": files, "commands": job.commands}
    parts: list[tuple[Content, int]] = [(line := json.dumps(header).encode() + b"\n", len(line))]
    parts += [(job.files[name], size) for name, size, _ in files]
    command = program("job", facts.executable)
    with (
        tempfile.TemporaryFile() as out,
        connection.start(
            command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.PIPE
        ) as process,
    ):
        sender, lines = _Sender(process, parts), _Lines(process, on_line)
        try:
            code = connection.wait(process, out, stop=stop)
        except BaseException:
            sender.end(process)
            raise
        finally:
            process.kill()
            sender.join()
            lines.join()
        if sender.error:
            raise sender.error
        return Finished(code, read_all(out), "\n".join(lines.last))


def _require_space(facts: SystemFacts, size: int, connection: Connection) -> None:
    if facts.free_bytes < size + _SPARE_BYTES:
        raise RemoteError(
            f"'{connection.address.name}' has no space for {size / 1e6:.0f} MB: "
            f"{facts.free_bytes / 1e6:.0f} MB are free in '{facts.folder}'.",
            hint="make room there, e.g. with sudo apt clean, or send fewer pictures.",
        )


class _Sender(threading.Thread):
    """Writes contents to a process's standard input, and leaves that open.

    Attributes:
        error: why a content could not be read; the process is then ended.
    """

    def __init__(
        self, process: "subprocess.Popen[bytes]", parts: Sequence[tuple[Content, int]]
    ) -> None:
        super().__init__(daemon=True)
        self.error: EdgetlError | None = None
        self._process, self._parts = process, parts
        self.start()

    def run(self) -> None:
        """Send everything; a process that has ended gets no more."""
        pipe = self._process.stdin
        assert pipe
        try:
            with suppress(BrokenPipeError):
                for content, size in self._parts:
                    for chunk in chunks(content, size):
                        pipe.write(chunk)
                pipe.flush()
        except EdgetlError as error:
            self.error = error
            self._process.terminate()

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        """End the job: the end of its standard input is the sign, after which it cleans up."""
        if self.is_alive():
            process.terminate()
            return
        assert process.stdin
        with suppress(BrokenPipeError):
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)


class _Lines(threading.Thread):
    """Reads the lines of a process's standard error.

    Attributes:
        last: the last of them.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", on_line: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        self.last: deque[str] = deque(maxlen=_KEPT_LINES)
        self._process, self._on_line = process, on_line
        self.start()

    def run(self) -> None:
        """Read up to the end."""
        pipe = self._process.stderr
        assert pipe
        while line := pipe.readline(_LONGEST_LINE):
            text = printable(line.decode(errors="replace")).strip()
            self.last.append(text)
            self._on_line(text)
