"""Where another machine is: user, host, port, key file and Python."""

import re
import shlex
import urllib.parse
from pathlib import Path
from typing import NamedTuple

from edgetl.core.errors import EdgetlError

# Names, addresses and aliases of ~/.ssh/config. A leading "-" would be read as an option of ssh.
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_IPV6 = re.compile(r"[0-9A-Fa-f:]+(%[A-Za-z0-9_.-]+)?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]*\$?")
_PYTHON = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_./+-]*")
_MAX_PORT = 65535
_HOW = "write user@host, ssh://user@host:port, or a host of ~/.ssh/config."


class RemoteError(EdgetlError):
    """Another machine that cannot be reached, or on which something failed."""


class Address(NamedTuple):
    """Where a machine is, and how to log in; the user's ssh configuration decides the rest.

    Attributes:
        name: what messages and tables call it, e.g. "pi@raspberrypi.local".
        host: a host's name, an IP address, or an alias of the ssh configuration.
        user, port: None: as the ssh configuration says.
        key_file: the private key to log in with; None: as the ssh configuration says.
        python: the Python on the machine that edgetl's environment is made with; None: python3.
    """

    name: str
    host: str
    user: str | None = None
    port: int | None = None
    key_file: Path | None = None
    python: str | None = None

    def arguments(self) -> list[str]:
        """The arguments with which ssh reaches it; the host comes last."""
        arguments = []
        if self.port is not None:
            arguments += ["-p", str(self.port)]
        if self.user is not None:
            arguments += ["-l", self.user]
        if self.key_file is not None:
            arguments += ["-i", str(self.key_file), "-o", "IdentitiesOnly=yes"]
        return [*arguments, "--", self.host]

    def command(self, ssh_config: Path | None = None) -> str:
        """The ssh command that a user would type, for a hint."""
        config = f"-F {shlex.quote(str(ssh_config))} " if ssh_config else ""
        port = f"-p {self.port} " if self.port is not None else ""
        user = f"{self.user}@" if self.user is not None else ""
        return f"ssh {config}{port}{user}{self.host}"


def parse_address(text: str) -> Address:
    """Read "host", "user@host" or "ssh://user@host:port". Raises RemoteError if it is neither."""
    if "://" in text:
        return _parse_url(text)
    user, at, host = text.rpartition("@")
    return checked(Address(text, host, user if at else None))


def checked(address: Address) -> Address:
    """Return the address. Raises RemoteError if a part of it could be read as something else."""
    known = _HOST.fullmatch(address.host) or _IPV6.fullmatch(address.host)
    if not known or (address.user is not None and not _USER.fullmatch(address.user)):
        raise RemoteError(f"'{address.name}' is not the address of a machine.", hint=_HOW)
    if address.port is not None and not 1 <= address.port <= _MAX_PORT:
        raise RemoteError(f"'{address.name}': there is no port {address.port}.", hint=_HOW)
    if address.python is not None and not _PYTHON.fullmatch(address.python):
        raise RemoteError(
            f"'{address.python}' is not the path of a Python.",
            hint="write an absolute path, e.g. /usr/bin/python3.12.",
        )
    return address


def _parse_url(text: str) -> Address:
    try:
        url = urllib.parse.urlsplit(text)
        port = url.port
    except ValueError:
        raise RemoteError(f"'{text}' is not the address of a machine.", hint=_HOW) from None
    if url.scheme != "ssh" or url.password is not None or url.path.strip("/") or url.query:
        raise RemoteError(f"'{text}' is not the address of a machine.", hint=_HOW)
    return checked(Address(text, url.hostname or "", url.username, port))
