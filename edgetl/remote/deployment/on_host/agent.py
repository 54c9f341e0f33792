"""Does on the other machine what a deployment needs root for, one request after another.

A request is a line of JSON on standard input, which files may follow; its answer is a line on
standard output: {"value": ...} or {"error": ...}. What has begun is finished also if the connection
is lost: a release that was switched to is checked, and rolled back if it fails.

This file is sent to the other machine and run by its own Python: only the standard library.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from edgetl.remote.deployment.on_host import systemd
from edgetl.remote.deployment.on_host.health import health, require_health
from edgetl.remote.deployment.on_host.layout import (
    ROOT,
    RUNTIME_UNITS,
    Service,
    now,
    read_input,
    remove_unused_environments,
)
from edgetl.remote.deployment.on_host.systemd import NotRunningError

Request = dict[str, Any]
# How long a service that cannot be asked must run to count as started.
_STEADY_S = 3.0


class RefusedError(Exception):
    """A request that cannot be fulfilled; the message says why."""


class Agent:
    """Fulfils requests for one service.

    Args:
        name: the service's name.
    """

    def __init__(self, name: str) -> None:
        self.service = Service(name)
        self._lock: IO[str] | None = None

    def begin(self, request: Request) -> Any:
        """Keep others from changing anything here, and clean up; returns what there is."""
        if not Path("/run/systemd/system").is_dir():
            raise RefusedError("systemd does not run there, which starts the services.")
        (ROOT / "remote").mkdir(mode=0o755, parents=True, exist_ok=True)
        found = ROOT.stat()
        if found.st_uid != 0 or found.st_mode & 0o022:
            raise RefusedError(
                f"{ROOT} is not root's alone, who runs what is in it: sudo chown root {ROOT} && "
                f"sudo chmod 755 {ROOT}."
            )
        (ROOT / "lock").touch(mode=0o600)
        lock = (ROOT / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise RefusedError(f"Another deployment is under way: {lock.read()}.") from None
        self._lock = lock
        self._lock.truncate(0)
        self._lock.write(f"{request['by']}, since {now()}")
        self._lock.flush()
        self.service.clean_up()
        ran = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=True)
        return {
            "systemd": systemd.version(ran.stdout.splitlines()),
            "current": self.service.current(),
            "releases": [record["release"] for record in self.service.records()],
            "free_bytes": shutil.disk_usage(ROOT).free,
        }

    def receive(self, request: Request) -> Any:
        """Write a release's files."""
        self.service.receive(request["release"], request["files"], request["links"])

    def check(self, request: Request) -> Any:
        """Run a unit of Type=oneshot; returns whether it succeeded, and what it printed."""
        folder = Path("/run") / self.service.check_unit
        systemd.stop(self.service.check_unit)  # that of a deployment that was cut off
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        unit = RUNTIME_UNITS / self.service.check_unit
        try:
            unit.write_text(request["unit"])
            succeeded = systemd.run_once(self.service.check_unit)
            result = systemd.properties(self.service.check_unit, "Result", "ExecMainStatus")
            printed = {path.name: path.read_text(errors="replace") for path in folder.iterdir()}
        finally:
            unit.unlink(missing_ok=True)
            systemd.stop(self.service.check_unit)
            shutil.rmtree(folder, ignore_errors=True)
        return {"succeeded": succeeded, "printed": printed, **result}

    def require_free_port(self, request: Request) -> Any:
        """Raise RefusedError if a service could not listen on an address."""
        host, port = request["listens"]
        current = self.service.current()
        listens = self.service.record(current)["listens"] if current else None
        if listens and listens[1] == port:  # the service has it, and gives it up
            return
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            with socket.socket(found[0][0]) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(found[0][4])
        except OSError as error:
            raise RefusedError(
                f"A service cannot listen on {host}, port {port}: {error.strerror}."
            ) from error

    def switch(self, request: Request) -> Any:
        """Make a release the current one and start it; if it fails, go back to the one before."""
        service = self.service
        old, new = service.current(), request["record"]["release"]
        kept = next((record for record in service.records() if record["release"] == new), None)
        environment = service.environment(new)
        os.sync()  # the environment, too, is to survive a power cut
        before = kept["before"] if kept and old == new else old
        service.use_environment(new, request["environment"])
        service.write_record({**request["record"], "deployed": now(), "before": before})
        answer = self._change(old, new)
        if "record" in answer:
            service.keep(request["keep"])
        elif kept:  # it could be gone back to before, and still can
            service.write_record(kept)
            service.use_environment(new, environment)
        elif old != new:
            shutil.rmtree(service.releases / new)
        return answer

    def end(self) -> None:
        """Remove what was not switched to, if this program is the one that may change anything."""
        if self._lock is not None:
            self.service.clean_up()
            remove_unused_environments()

    def roll_back(self, _: Request) -> Any:
        """Go back to the release that ran before the current one was deployed."""
        older = self.service.before()
        if not older:
            raise RefusedError(f"'{self.service.name}' has no release before the current one.")
        return self._change(self.service.current(), older[0])

    def remove(self, _: Request) -> Any:
        """Remove the service, its releases and the environments that only it used."""
        existed = self.service.folder.exists()
        systemd.remove_cache(self.service.unit)
        self.service.unlink_unit()
        shutil.rmtree(self.service.folder, ignore_errors=True)
        remove_unused_environments()
        systemd.systemctl("daemon-reload")
        return {"existed": existed}

    def status(self, _: Request) -> Any:
        """What runs, and what is kept."""
        service, current = self.service, self.service.current()
        state = systemd.properties(
            service.unit, "ActiveState", "SubState", "ActiveEnterTimestamp", "NRestarts"
        )
        records = service.records()
        running = next((one for one in records if one["release"] == current), None)
        return {
            "current": current,
            "records": records,
            "state": f"{state.get('ActiveState', '')} ({state.get('SubState', '')})",
            "since": state.get("ActiveEnterTimestamp", ""),
            "restarts": int(state.get("NRestarts") or 0),
            "health": _health(running) if running else "",
        }

    def _change(self, old: "str | None", new: str) -> Any:
        """Switch to a release, and back to the old one if it does not work."""
        since = time.time()
        try:
            self._start(new)
            return {"release": new, "before": old, "record": self.service.record(new)}
        except Exception as error:  # whatever it is: the old release is to run again
            why, log = _said(error), systemd.journal(self.service.unit, since)
        answer = {"release": new, "before": old, "why": why, "log": log}
        if old is None:
            systemd.stop(self.service.unit)
            self.service.unlink_unit()
            (self.service.folder / "current").unlink(missing_ok=True)
            systemd.systemctl("daemon-reload")
        elif old != new:
            try:
                self._start(old)
            except Exception as error:
                answer["old_failed"] = _said(error)
        return answer

    def _start(self, release: str) -> None:
        """Make a release the current one, start it, and check it. Raises NotRunningError."""
        record = self.service.record(release)
        self.service.point_to(release)
        self.service.link_unit()
        serves = record["url"] is not None
        systemd.restart(self.service.unit, 0.0 if serves else _STEADY_S)
        if serves:
            require_health(record, self.service.releases / release)


def _said(error: Exception) -> str:
    expected = isinstance(error, NotRunningError)
    return str(error) if expected else f"{type(error).__name__}: {error}"


def _health(record: "dict[str, Any]") -> str:
    if record["url"] is None:
        return "not asked"
    try:
        said = health(record["url"])
    except NotRunningError as error:
        return str(error)
    same = said.get("bundle_sha256") == record["bundle_sha256"]
    return str(said.get("status")) if same else "it serves another bundle"


def read_request() -> "Request | None":
    """The next request on standard input; None at its end. Empty lines are signs of life."""
    line = b""
    while not line.strip() or not line.endswith(b"\n"):
        byte = read_input(1)  # nothing of the files that may follow is taken
        if not byte:
            return None
        line += byte
    request: Request = json.loads(line)
    return request


def answer(document: "dict[str, Any]") -> None:
    """Print an answer, unless nobody is there to read it any more."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(document).encode() + b"\n")


def main(name: str) -> None:
    """Fulfil requests until standard input ends, or one fails: the rest of it may follow."""
    for number in (signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o022)
    agent = Agent(name)
    try:
        while (request := read_request()) is not None:
            fulfil: Callable[[Request], Any] = getattr(agent, request["do"])
            answer({"value": fulfil(request)})
    except (RefusedError, NotRunningError, ValueError) as error:
        answer({"error": str(error)})
    except EOFError:  # the input ended in the middle of a file: nobody waits for an answer
        pass
    except OSError as error:
        answer({"error": f"{error.filename or 'The machine'}: {error.strerror}."})
    finally:
        agent.end()
