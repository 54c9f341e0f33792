"""Tells systemd how the service is, as a unit of Type=notify expects (sd_notify(3))."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class Systemd:
    """The service manager that started this process; without one, nothing is sent.

    Args:
        environment: has its address as NOTIFY_SOCKET, and perhaps its watchdog as WATCHDOG_USEC.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environment.get("WATCHDOG_USEC", "")
        self._watchdog_s = int(microseconds) / 1e6 if mine and microseconds.isdecimal() else 0.0

    @property
    def watchdog_every_s(self) -> float | None:
        """How often the watchdog wants to hear of the service; None if there is none.

        That is half of the time after which it would restart the service.
        """
        return self._watchdog_s / 2 if self._address and self._watchdog_s else None

    def ready(self, status: str) -> None:
        """Say that the service has started; the status is shown by `systemctl status`."""
        self._send(f"READY=1\nSTATUS={status}")

    def alive(self) -> None:
        """Say that the service works."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the service ends."""
        self._send("STOPPING=1")

    def _send(self, state: str) -> None:
        if not self._address.startswith(("/", "@")):
            return
        address = self._address.replace("@", "\0", 1)  # an abstract socket, which has no file
        # Pictures are answered all the same if the manager cannot be reached.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
            notifier.connect(address)
            notifier.sendall(state.encode())
