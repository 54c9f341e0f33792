"""The connection to the program that changes a machine's services as root."""

import json
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from edgetl.core.schema import Frozen
from edgetl.remote.address import RemoteError
from edgetl.remote.answers import MAX_ANSWER_BYTES, last_line, read_answer
from edgetl.remote.connection import SSH_FAILED, Connection
from edgetl.remote.content import Content, chunks, read_all
from edgetl.remote.deployment.unit import ROOT
from edgetl.remote.programs import DEFAULT_PYTHON

T = TypeVar("T")

_PACKAGE = "edgetl.remote.deployment.on_host"
_FOLDER = Path(__file__).with_name("on_host")
# In the order in which they import each other.
_MODULES = ("layout", "systemd", "health", "agent")
# The other machine ends if it hears nothing for a minute.
_SIGN_EVERY_S = 10.0
# Environments are kept in /opt/edgetl/remote, and services may read them whatever root's umask is.
_AS_ROOT = f'umask 022; export EDGETL_CACHE={ROOT} HOME=/root; exec "$@"'


def become_root(connection: Connection) -> None:
    """Let all commands of a connection run as root: through sudo unless the login is root's.

    Raises RemoteError, which says what sudo needs, if it is not possible.
    """
    name = connection.address.name
    sudo: tuple[str, ...] = ()
    if connection.run(["id", "-u"]).stdout.strip() != b"0":
        sudo = ("sudo", "-n")
        tried = connection.run([*sudo, "true"])
        if tried.code:
            user = connection.run(["id", "-un"]).stdout.decode().strip()
            raise RemoteError(
                f"edgetl cannot become root on '{name}': {last_line(tried.stderr)}.",
                hint="a service is installed as root. Log in as root, or let sudo work without "
                f"a password there: a file in /etc/sudoers.d with '{user} ALL=(root) "
                "NOPASSWD: ALL' (visudo checks it).",
            )
    connection.prefix = (*sudo, "sh", "-c", _AS_ROOT, "edgetl")


class _Answer(Frozen, kw_only=True, frozen=True):
    """What the program answers: a value or an error."""

    value: Any = None
    error: str = ""


class Agent:
    """A running `on_host.agent`, as `running_agent` makes it."""

    def __init__(
        self, connection: Connection, process: "subprocess.Popen[bytes]", errors: IO[bytes]
    ) -> None:
        self._connection, self._process, self._errors = connection, process, errors
        self._sending = threading.Lock()

    def ask(
        self,
        do: str,
        kind: type[T],
        contents: Sequence[tuple[Content, int]] = (),
        **arguments: Any,
    ) -> T:
        """Have a request fulfilled.

        Args:
            do: the request, a method of `on_host.agent.Agent`.
            kind: of the answer.
            contents: what follows the request, with their sizes in bytes.
            arguments: of the request.

        Raises RemoteError if it cannot be fulfilled, or the connection is lost. After an error
        nothing more can be asked: the program has ended, or is still reading or at work.
        """
        name = self._connection.address.name
        assert self._process.stdin and self._process.stdout
        # A program that has ended has said before why.
        with suppress(BrokenPipeError), self._sending:
            self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            for content, size in contents:
                for chunk in chunks(content, size):
                    self._process.stdin.write(chunk)
            self._process.stdin.flush()
        line = self._process.stdout.readline(MAX_ANSWER_BYTES)
        if not line:
            raise self._ended()
        answer = read_answer(line, _Answer, self._connection.address)
        if answer.error:
            raise RemoteError(f"on '{name}': {answer.error}")
        return read_answer(msgspec.json.encode(answer.value), kind, self._connection.address)

    def tell(self, do: str, contents: Sequence[tuple[Content, int]] = (), **arguments: Any) -> None:
        """Have a request fulfilled that has no answer; see `ask`."""
        self.ask(do, type(None), contents, **arguments)

    def give_signs(self, stop: threading.Event) -> None:
        """Send signs of life between the requests, until another thread sets `stop`."""
        assert self._process.stdin
        with suppress(OSError, ValueError):  # it has ended, or the pipe is closed
            while not stop.wait(_SIGN_EVERY_S):
                with self._sending:
                    self._process.stdin.write(b"\n")
                    self._process.stdin.flush()

    def _ended(self) -> RemoteError:
        name = self._connection.address.name
        self._process.wait()
        if self._process.returncode != SSH_FAILED:
            said = last_line(read_all(self._errors).decode(errors="replace"))
            return RemoteError(f"edgetl's program on '{name}' ended: {said}.")
        return RemoteError(
            f"The connection to '{name}' ended before it answered.",
            hint=f"what had begun there is finished all the same: edgetl deploy {name} --status",
        )


@contextmanager
def running_agent(connection: Connection, service: str) -> Iterator[Agent]:
    """Run the program on a machine for a service; leaving the block ends it.

    What it is doing then, it finishes; a release that was not switched to is removed.
    """
    stop = threading.Event()
    with (
        tempfile.TemporaryFile() as errors,
        connection.start(
            _command(connection.address.python, service),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process,
    ):
        agent = Agent(connection, process, errors)
        threading.Thread(target=agent.give_signs, args=[stop], daemon=True).start()
        try:
            yield agent
        finally:
            stop.set()


def _command(python: str | None, service: str) -> list[str]:
    """The command that makes modules of the sent texts and runs the last one."""
    sources = {f"{_PACKAGE}.{name}": _text(name) for name in _MODULES}
    program = (
        "import sys, types\n"
        f"sources = {sources!r}\n"
        f"parts = {_PACKAGE!r}.split('.')\n"
        "for i in range(len(parts)):\n"
        "    package = types.ModuleType('.'.join(parts[:i + 1]))\n"
        "    package.__path__ = []\n"
        "    sys.modules[package.__name__] = package\n"
        "for name, text in sources.items():\n"
        "    module = sys.modules[name] = types.ModuleType(name)\n"
        "    setattr(package, name.rpartition('.')[2], module)\n"
        "    exec(compile(text, name, 'exec'), module.__dict__)\n"
        "module.main(sys.argv[1])\n"
    )
    return [python or DEFAULT_PYTHON, "-I", "-c", program, service]


def _text(name: str) -> str:
    return (_FOLDER / f"{name}.py").read_text(encoding="utf-8")
