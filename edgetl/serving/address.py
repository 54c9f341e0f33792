"""The address that the server listens on; imports little, so that a wrong one is known at once."""

import errno
import ipaddress
import socket
from collections.abc import Collection

from edgetl.core.errors import EdgetlError

# How many connections the system accepts before the server takes them.
BACKLOG = 128


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 takes a free one.

    Raises EdgetlError if the address is not this machine's, in use, or not allowed.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        # Without the protocol, asyncio would not turn off Nagle's algorithm for connections, and
        # each answer would take 40 ms longer.
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6 and address[0] == "::":
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be one
        raise _not_listening(host, port, error) from error
    return listener


def _not_listening(host: str, port: int, error: OSError | UnicodeError) -> EdgetlError:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return EdgetlError(
            f"Port {port} of {host} is in use.",
            hint=f"stop the other server, or choose another port: --port {port + 1}",
        )
    if number == errno.EACCES:
        return EdgetlError(
            f"Port {port} is only for the system's own services.", hint="e.g. --port 8000"
        )
    return EdgetlError(
        f"'{host}' is not an address of this machine.",
        hint="127.0.0.1 serves this machine only, 0.0.0.0 every machine that can reach it.",
    )


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine can connect."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def address_of(listener: socket.socket) -> str:
    """The address for a browser, e.g. "http://127.0.0.1:8000"."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def allowed_hosts(listener: socket.socket, named: Collection[str]) -> set[str] | None:
    """The names of the server beside this machine's own, e.g. "localhost"; None: any.

    These are its address and those in `named`. A server for other machines may have any name,
    unless some are named.
    """
    if not named and not is_loopback(listener):
        return None
    return {listener.getsockname()[0], *named}
