"""Starts, stops and watches units through systemctl and journalctl.

This file is sent to the other machine and run by its own Python: only the standard library.
"""

import subprocess
import time
from collections.abc import Sequence

# Longer than TimeoutStartSec of the units.
_START_S = 150.0
_LOOK_EVERY_S = 0.2


class NotRunningError(Exception):
    """A service that does not run as it should; the message says why."""


def systemctl(*arguments: str) -> None:
    """Run systemctl. Raises NotRunningError with its last line if it fails."""
    ran = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
    if ran.returncode:
        said = ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"]
        raise NotRunningError(f"systemctl {arguments[0]}: {said[-1]}")


def properties(unit: str, *names: str) -> "dict[str, str]":
    """Properties of a unit, as `systemctl show` prints them."""
    ran = subprocess.run(
        ["systemctl", "show", unit, f"--property={','.join(names)}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return dict(line.split("=", 1) for line in ran.stdout.splitlines() if "=" in line)


def restart(unit: str, steady_s: float) -> None:
    """Start a unit anew, and wait until it has said that it is ready.

    Args:
        unit: the unit.
        steady_s: how long it must then run without ending.

    Raises NotRunningError if it ends or does not get ready in time.
    """
    systemctl("daemon-reload")
    subprocess.run(["systemctl", "reset-failed", unit], capture_output=True, check=False)
    systemctl("restart", "--no-block", unit)
    deadline = time.monotonic() + _START_S
    steady_from = None
    while True:
        state = properties(
            unit, "ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts", "Job"
        )
        if state["ActiveState"] == "failed" or state["SubState"] == "auto-restart":
            raise NotRunningError(_ended(state))
        if int(state.get("NRestarts") or 0):
            raise NotRunningError(_ended(state))
        if state["ActiveState"] == "active" and not _pending(state):
            steady_from = steady_from or time.monotonic()
            if time.monotonic() - steady_from >= steady_s:
                return
        if time.monotonic() > deadline:
            raise NotRunningError(f"it was not ready within {_START_S:.0f} s")
        time.sleep(_LOOK_EVERY_S)


def run_once(unit: str) -> bool:
    """Run a unit of Type=oneshot to its end; returns whether it succeeded."""
    systemctl("daemon-reload")
    ran = subprocess.run(["systemctl", "start", unit], capture_output=True, check=False)
    return ran.returncode == 0


def journal(unit: str, since: float, lines: int = 12) -> "list[str]":
    """The last lines that a unit has logged since a time (seconds of the epoch)."""
    command = ["journalctl", "--unit", unit, f"--since=@{int(since)}", f"--lines={lines}"]
    ran = subprocess.run(
        [*command, "--no-pager", "--output=cat", "--quiet"],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return ran.stdout.splitlines()


def stop(unit: str) -> None:
    """Stop a unit; nothing if it does not run."""
    _quietly("stop", unit)
    _quietly("reset-failed", unit)


def remove_cache(unit: str) -> None:
    """Stop a unit, and remove the files of its CacheDirectory=."""
    stop(unit)
    _quietly("clean", "--what=cache", unit)


def _quietly(*arguments: str) -> None:
    subprocess.run(["systemctl", *arguments], capture_output=True, check=False)


def _pending(state: "dict[str, str]") -> bool:
    """Whether the restart is still to come: the old process runs until its job is done."""
    return state.get("Job", "") not in ("", "0")


def _ended(state: "dict[str, str]") -> str:
    return f"it ended ({state.get('Result')}, exit code {state.get('ExecMainStatus')})"


def version(printed: "Sequence[str]") -> int:
    """The version of systemd, from the lines of `systemctl --version`; 0 if it is not there."""
    words = printed[0].split() if printed else []
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
