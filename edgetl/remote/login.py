"""A login on another machine through the system's OpenSSH, which serves many commands.

The first ssh process logs in and opens a control socket, through which the others run their
commands (ControlMaster in ssh_config(5)). It runs `cat` on the other machine, whose standard input
is this process: when this process ends, however that happens, `cat` ends, and with it the login.

The user's ssh configuration decides on host keys, key files and jump hosts. Nothing asks for a
password, and a host key that is not known is not accepted.
"""

import os
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from edgetl.remote.address import Address, RemoteError
from edgetl.remote.content import read_all
from edgetl.remote.ssh_errors import connection_error

_READY = b"edgetl-ready\n"
_CONNECT_S = 10
_LOGIN_S = 60
_END_S = 5.0
# The path of a Unix socket has at most 104 bytes on macOS, and ssh adds up to 17 while it makes it.
_LONGEST_FOLDER = 60
_OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": str(_CONNECT_S),
    "ServerAliveInterval": "10",
    "ServerAliveCountMax": "3",
    "LogLevel": "ERROR",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "ControlPersist": "no",
}


class Login:
    """A login on a machine. Raises RemoteError, which says what to do, if it fails.

    Args:
        address: the machine.
        ssh_config: used instead of ~/.ssh/config (`ssh -F`).
    """

    def __init__(self, address: Address, ssh_config: Path | None) -> None:
        if sys.platform == "win32" or shutil.which("ssh") is None:
            raise RemoteError(
                "OpenSSH's `ssh` is not installed here.",
                hint="sudo apt install openssh-client; on Windows, use edgetl in WSL.",
            )
        self._address, self._ssh_config = address, ssh_config
        self._folder = _short_folder()
        # A session of its own, here and below: Ctrl-C is for this process, which then cleans up.
        self._process = subprocess.Popen(
            self._ssh("ControlMaster=yes", f"echo {_READY.decode().strip()}; exec cat > /dev/null"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(errors := tempfile.TemporaryFile()),  # noqa: SIM115 - closed below
            start_new_session=True,
        )
        try:
            self._require_ready(errors)
        except BaseException:
            self.end()
            raise
        finally:
            errors.close()

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line here that runs a program there, without a shell in between."""
        # `exec`, so that no shell waits for the program: its end is the end of the session.
        # Should the control socket be gone, ssh would log in anew: this proxy makes that fail.
        return self._ssh("ControlMaster=no", f"exec {shlex.join(argv)}", "ProxyCommand=false")

    def has_ended(self) -> bool:
        """Whether the connection was lost; waits some seconds for the login to notice."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        return self._process.returncode is not None

    def end(self) -> None:
        """Log out."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        if not self.has_ended():
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ssh(self, option: str, command: str, *more: str) -> list[str]:
        options = [f"{key}={value}" for key, value in _OPTIONS.items()]
        folder = self._folder.replace("%", "%%")  # ssh replaces tokens such as %h
        options += [f'ControlPath="{folder}/socket"', option, *more]
        words = [word for one in options for word in ("-o", one)]
        config = ["-F", str(self._ssh_config)] if self._ssh_config else []
        return ["ssh", *config, *words, *self._address.arguments(), command]

    def _require_ready(self, errors: IO[bytes]) -> None:
        """Wait for the first command's output. Raises RemoteError if there is none."""
        assert self._process.stdout
        said = _read_until(self._process.stdout, _READY, _LOGIN_S)
        if said == _READY:
            return
        if said.endswith(_READY):
            raise RemoteError(
                f"'{self._address.name}' prints text whenever a command is run there.",
                hint="let ~/.bashrc there print nothing unless the shell is interactive.",
            )
        self._process.kill()
        self._process.wait()
        printed = read_all(errors).decode(errors="replace")
        raise connection_error(self._address, printed, self._ssh_config)


def _read_until(pipe: IO[bytes], end: bytes, seconds: float) -> bytes:
    """Read a pipe up to and with `end`; returns what came if it is closed or silent before."""
    deadline, said = time.monotonic() + seconds, b""
    while not said.endswith(end) and len(said) < 1 << 16:
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        chunk = os.read(pipe.fileno(), 4096) if ready else b""
        if not chunk:
            break
        said += chunk
    return said


def _short_folder() -> str:
    """A new temporary folder whose path is short enough for a Unix socket."""
    fits = len(tempfile.gettempdir()) <= _LONGEST_FOLDER
    return tempfile.mkdtemp(prefix="edgetl-", dir=None if fits else "/tmp")
