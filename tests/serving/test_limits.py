"""What a server refuses, and when: each limit, with a server whose engine can be held."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serving.running import PICTURE, Reply, Server, form, read_all, running, wait_for

LIMITS = {
    "queue": 1,
    "body_bytes": 50_000,
    "files": 3,
    "connections": 40,
    "header_s": 0.5,
    "body_s": 0.5,
    "drain_s": 0.5,
}
WAITING = 'edgetl_rejected_total{reason="%s"}'
# One is in the engine, one is decoded and waits for it, and one is in the queue.
ROOM = 3
HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"


class Gate:
    """Whether the engine's answers are held back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def shut(self) -> None:
        """Hold answers back."""
        (self._folder / "open").unlink()

    def open(self) -> None:
        """Let answers through."""
        (self._folder / "open").touch()

    def holds(self) -> bool:
        """Whether an answer is being held back."""
        return (self._folder / "held").exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="module")
def limited(tiny_bundle: Path, folder: Path) -> Iterator[Server]:
    """A server with small limits."""
    (folder / "open").touch()
    with running("tests.serving.gated", tiny_bundle, folder, json.dumps(LIMITS)) as server:
        yield server


@pytest.fixture
def gate(folder: Path, limited: Server) -> Iterator[Gate]:
    """A gate that is shut; it is open again after the test."""
    gate = Gate(folder)
    gate.shut()
    yield gate
    gate.open()
    wait_for(lambda: limited.metric("edgetl_requests_in_flight") == 1)


class Sent:
    """A request that is sent on a thread of its own."""

    def __init__(self, send: Callable[[], Reply]) -> None:
        self._replies: list[Reply] = []
        self._thread = threading.Thread(target=lambda: self._replies.append(send()))
        self._thread.start()

    def reply(self) -> Reply:
        """Wait for the answer."""
        self._thread.join(30)
        (reply,) = self._replies
        return reply


def fill(server: Server, gate: Gate) -> list[Sent]:
    """Send as many pictures as there is room for, while the engine is held."""
    sent = []
    for number in range(1, ROOM + 1):
        sent.append(Sent(server.post))
        wait_for(lambda number=number: server.metric("edgetl_requests_in_flight") == number + 1)
        waiting = 1 if number == ROOM else 0
        wait_for(lambda waiting=waiting: server.metric("edgetl_queue_length") == waiting)
    assert gate.holds()
    return sent


def test_a_full_queue_refuses_and_says_when_to_come_again(limited: Server, gate: Gate) -> None:
    before = limited.metric(WAITING % "queue")
    sent = fill(limited, gate)
    refused = limited.post()
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert refused.json["error"] == "The queue of 1 requests is full."
    assert limited.metric(WAITING % "queue") == before + 1
    gate.open()
    assert [one.reply().status for one in sent] == [200] * ROOM
    assert limited.post().status == 200


def test_a_full_queue_refuses_before_the_body_is_sent(limited: Server, gate: Gate) -> None:
    sent = fill(limited, gate)
    with limited.socket() as client:
        client.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 503 ")
    gate.open()
    assert [one.reply().status for one in sent] == [200] * ROOM


def test_a_client_that_hangs_up_is_left_out(limited: Server, gate: Gate) -> None:
    first = Sent(limited.post)
    wait_for(gate.holds)
    answered = pictures(limited)  # with the one that is held
    gone = limited.metric('edgetl_requests_total{status="499"}')
    with limited.socket() as client:
        client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(PICTURE) + PICTURE)
        wait_for(lambda: limited.metric("edgetl_requests_in_flight") == 3)
    wait_for(lambda: limited.metric('edgetl_requests_total{status="499"}') == gone + 1)
    gate.open()
    assert first.reply().status == 200
    assert limited.post().status == 200  # after which the engine would have had the other one
    assert pictures(limited) == answered + 1


def pictures(server: Server) -> float:
    """How many pictures the engine has answered."""
    lines = server.get("/metrics").body.decode().splitlines()
    counts = [line.split()[-1] for line in lines if line.startswith("edgetl_pictures_total")]
    return sum(map(float, counts))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(limited: Server, chunked: bool) -> None:
    body = b"\0" * 50_001
    answer = limited.post(iter([body[:25_000], body[25_000:]]) if chunked else body)
    assert answer.status == 413
    assert answer.json == {
        "error": "The body is larger than 0.05 MB.",
        "hint": "send fewer or smaller pictures.",
    }


def test_a_body_that_is_said_to_be_too_large_is_refused_before_it_is_sent(limited: Server) -> None:
    with limited.socket() as client:
        client.sendall(HEAD + b"Content-Length: 1000000000\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_the_rest_of_a_refused_body_is_only_read_for_so_long(limited: Server) -> None:
    with limited.socket() as client:
        begun = time.monotonic()
        client.sendall(HEAD + b"Content-Length: 1000000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < begun + 20:
                client.sendall(b"\0" * 1000)
                time.sleep(0.01)
        assert 0.4 < time.monotonic() - begun < 10


def test_a_body_that_comes_too_slowly_is_cut_off(limited: Server) -> None:
    with limited.socket() as client:
        client.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        begun = time.monotonic()
        received = b""
        client.settimeout(0.05)
        while not received and time.monotonic() < begun + 20:
            client.sendall(b"\0")
            with contextlib.suppress(TimeoutError):
                received = client.recv(65536)
        assert 0.4 < time.monotonic() - begun < 10
        assert received.startswith(b"HTTP/1.1 408 ")
        assert b"The body did not arrive within 0.5 s." in received + read_all(client)


@pytest.mark.parametrize("head", [b"", HEAD])
def test_a_head_that_comes_too_slowly_is_cut_off(limited: Server, head: bytes) -> None:
    with limited.socket() as client:
        client.sendall(head)
        begun = time.monotonic()
        received = read_all(client)
        assert 0.4 < time.monotonic() - begun < 10
        assert received.partition(b"\r\n")[0] == (b"HTTP/1.1 408 Request Timeout" if head else b"")


def test_the_second_head_of_a_connection_is_limited_too(limited: Server) -> None:
    with limited.socket() as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        client.sendall(HEAD)
        begun = time.monotonic()
        assert b"HTTP/1.1 408 " in read_all(client)
        assert 0.4 < time.monotonic() - begun < 10


def settled_files(server: Server) -> float:
    """How many files it has open, once those of earlier clients are closed."""
    readings = [-1.0]

    def same_again() -> bool:
        readings.append(server.metric("process_open_fds"))
        return len(set(readings[-5:])) == 1

    wait_for(same_again)
    return readings[-1]


def test_a_client_that_takes_no_answers_is_cut_off(limited: Server) -> None:
    open_files = settled_files(limited)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", limited.port))
        client.settimeout(0.2)
        asked = b"GET /docs HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with contextlib.suppress(OSError):  # the server stops reading, then it hangs up
            for _ in range(10_000):
                client.sendall(asked)
        wait_for(lambda: limited.metric("process_open_fds") == open_files + 1)
        wait_for(lambda: limited.metric("process_open_fds") == open_files)


def test_a_form_with_too_many_pictures_is_refused(limited: Server) -> None:
    assert limited.post_form(*[("a.png", PICTURE)] * 3).status == 200
    answer = limited.post_form(*[("a.png", PICTURE)] * 4)
    assert (answer.status, answer.json["error"]) == (413, "The form has more than 3 pictures.")


def test_bodies_take_only_so_much_memory(limited: Server) -> None:
    before = limited.metric(WAITING % "memory")
    with contextlib.ExitStack() as clients:
        for _ in range(8):  # of 50 kB each
            client = clients.enter_context(limited.socket())
            client.sendall(HEAD + b"Content-Length: 50000\r\n\r\n" + b"\0" * 49_999)
        wait_for(lambda: limited.metric("edgetl_requests_in_flight") == 9)
        answer = limited.post(form(("a.png", b"\0" * 2000)))
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json["error"] == "Too many pictures are being sent at once."
        assert limited.metric(WAITING % "memory") == before + 1
    wait_for(lambda: limited.metric("edgetl_requests_in_flight") == 1)
    assert limited.post().status == 200


def test_only_so_many_connections_are_open(limited: Server) -> None:
    before = limited.metric(WAITING % "connections")
    with contextlib.ExitStack() as clients:
        connection = limited.connect()
        connection.request("GET", "/healthz")
        assert connection.getresponse().read()
        for _ in range(LIMITS["connections"] - 1):
            clients.enter_context(limited.socket())
        with limited.socket() as one_more:
            refused = read_all(one_more)
        assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n")
    wait_for(lambda: limited.metric(WAITING % "connections") == before + 1)
    connection.close()
