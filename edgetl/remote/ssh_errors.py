"""What ssh's messages mean, and what to do about them."""

import re
from pathlib import Path
from typing import NamedTuple

from edgetl.remote.address import Address, RemoteError
from edgetl.remote.answers import last_line, printable

_CHANGED = "REMOTE HOST IDENTIFICATION HAS CHANGED"
_OFFENDING = re.compile(r"^Offending (?:\S+ )?key in (.+):(\d+)\s*$", re.MULTILINE)


class _Meaning(NamedTuple):
    """What is wrong and what to do, if ssh's message has one of these parts."""

    parts: tuple[str, ...]
    message: str
    hint: str


def connection_error(address: Address, printed: str, ssh_config: Path | None) -> RemoteError:
    """The error for a connection that was not made.

    Args:
        address: of the machine.
        printed: what ssh printed to standard error.
        ssh_config: used instead of ~/.ssh/config.
    """
    if _CHANGED in printed:
        return _changed_key(address, printed, ssh_config)
    for meaning in _meanings(address, ssh_config):
        if any(part in printed for part in meaning.parts):
            return RemoteError(meaning.message, hint=meaning.hint)
    return RemoteError(
        f"'{address.name}' cannot be connected to: {last_line(printed)}.",
        hint=f"try `{address.command(ssh_config)}` by hand.",
    )


def lost(address: Address) -> RemoteError:
    """The error for a connection that ended while it was used."""
    return RemoteError(
        f"The connection to '{address.name}' was lost.",
        hint="check that the machine is on and has enough memory, and try again.",
    )


def _changed_key(address: Address, printed: str, ssh_config: Path | None) -> RemoteError:
    found = _OFFENDING.search(printed)
    place = f", line {found[2]} of '{printable(found[1])}'," if found else ""
    return RemoteError(
        f"The host key of '{address.name}' has changed: it may be another machine.",
        hint=f"if you know why (a new system on the board), remove the old key{place} and add the "
        f"new one with `{address.command(ssh_config)}`.",
    )


def _meanings(address: Address, ssh_config: Path | None) -> tuple[_Meaning, ...]:
    name, ssh = address.name, address.command(ssh_config)
    return (
        _Meaning(
            ("Host key verification failed",),
            f"The host key of '{name}' is not known here.",
            f"run `{ssh}` once, and compare the fingerprint that it shows with the one that "
            "`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on that machine.",
        ),
        _Meaning(
            ("Permission denied", "Too many authentication failures"),
            f"'{name}' refused the login.",
            "check the user; copy your key there with ssh-copy-id, or unlock it here with "
            f"ssh-add. edgetl asks for no password: `{ssh}` must work without one.",
        ),
        _Meaning(
            ("Could not resolve hostname",),
            f"The name of '{name}' cannot be resolved.",
            "check its spelling; a name ending in .local needs mDNS (avahi) on both machines.",
        ),
        _Meaning(
            ("Connection refused",),
            f"'{name}' refuses connections.",
            "start the SSH server there (Raspberry Pi: sudo raspi-config nonint do_ssh 0), or "
            "check the port.",
        ),
        _Meaning(
            ("timed out", "No route to host", "Network is unreachable"),
            f"'{name}' does not answer.",
            f"check that it is on and in a network that this machine reaches: `{ssh}`.",
        ),
    )
