"""How a service is asked, with servers that answer something else than edgetl does."""

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from edgetl.remote.deployment.on_host.health import health, require_health
from edgetl.remote.deployment.on_host.systemd import NotRunningError

SHA256 = hashlib.sha256(b"bundle").hexdigest()


def answered(document: object) -> bytes:
    body = json.dumps(document).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@contextmanager
def server(*answers: bytes) -> Iterator[str]:
    """Gives the URL of a server that answers one connection after another."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                with suppress(OSError), listener.accept()[0] as connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"a"',
        b"\x00\x01garbage\r\n\r\n",
        b"",
        answered([]),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{",
    ],
    ids=["cut off", "no HTTP", "nothing", "no object", "no JSON"],
)
def test_another_program_at_the_port_is_no_healthy_service(answer: bytes) -> None:
    with server(answer) as url, pytest.raises(NotRunningError, match="/healthz "):
        health(url)


@pytest.mark.parametrize("document", [{}, {"top": []}, {"top": [{"label": "a"}]}, {"top": {}}])
def test_an_answer_without_a_prediction_is_none(document: object, tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(b"picture")
    with server(answered({"bundle_sha256": SHA256}), answered(document)) as url:
        record = {"url": url, "bundle_sha256": SHA256}
        with pytest.raises(NotRunningError, match="/v1/predict answers no prediction"):
            require_health(record, tmp_path)
