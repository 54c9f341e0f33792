"""How a server ends, and what it tells the service manager."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgetl.core.systemd import Systemd
from tests.serving.running import Server, running, wait_for
from tests.serving.test_limits import Sent


def refuses(server: Server) -> bool:
    """Whether it takes no connections any more."""
    try:
        server.socket().close()
    except ConnectionRefusedError:
        return True
    return False


def held_server(bundle: Path, folder: Path, **limits: float):
    return running("tests.serving.gated", bundle, folder, json.dumps(limits))


def test_requests_under_way_are_answered_before_it_ends(tiny_bundle: Path, tmp_path: Path) -> None:
    with held_server(tiny_bundle, tmp_path) as server:
        sent = [Sent(server.post) for _ in range(12)]
        wait_for(lambda: server.metric("edgetl_requests_in_flight") == 13)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: refuses(server))
        (tmp_path / "open").touch()
        assert [one.reply().status for one in sent] == [200] * 12
        out, err = server.process.communicate(timeout=30)
        assert (server.process.returncode, out, err) == (0, "", "")


def test_it_does_not_wait_for_ever(tiny_bundle: Path, tmp_path: Path) -> None:
    with held_server(tiny_bundle, tmp_path, shutdown_s=0) as server:
        sent = [Sent(server.post) for _ in range(2)]
        wait_for(lambda: server.metric("edgetl_requests_in_flight") == 3)
        server.process.send_signal(signal.SIGTERM)
        replies = [one.reply() for one in sent]
        assert [reply.status for reply in replies] == [503, 503]
        assert replies[0].json["error"] == "The server is stopping."
        _, err = server.process.communicate(timeout=30)
        assert server.process.returncode == 0
        assert "Traceback" not in err


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's socket, and its name for NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "file" else f"@edgetl-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0"))
        listener.settimeout(30)
        yield listener, name


def test_the_service_manager_is_told(manager: tuple[socket.socket, str], tiny_bundle: Path) -> None:
    listener, name = manager
    told = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "200000"}
    with running("edgetl", "serve", tiny_bundle, "--port", 0, **told) as server:
        assert listener.recv(1000) == b"READY=1\nSTATUS=answering pictures"
        assert [listener.recv(1000) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        assert server.stop() == 0
        rest = []
        while not rest or rest[-1] != b"STOPPING=1":
            rest.append(listener.recv(1000))
        assert set(rest[:-1]) <= {b"WATCHDOG=1"}


@pytest.mark.parametrize(
    ("environment", "every_s"),
    [
        ({}, None),
        ({"NOTIFY_SOCKET": "/run/a"}, None),
        ({"WATCHDOG_USEC": "30000000"}, None),
        ({"NOTIFY_SOCKET": "/run/a", "WATCHDOG_USEC": "30000000"}, 15.0),
        ({"NOTIFY_SOCKET": "/run/a", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"NOTIFY_SOCKET": "/run/a", "WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_it_wants(environment, every_s) -> None:
    assert Systemd(environment).watchdog_every_s == every_s


def test_a_manager_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "none")}).ready("well")
    Systemd({"NOTIFY_SOCKET": "not an address"}).ready("well")
