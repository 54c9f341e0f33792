"""Servers in processes of their own, and what clients do with them."""

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.making import draw, encoded

PICTURE = encoded(draw("checks", 0), "PNG")
_LIMIT_S = 30.0


class Reply(NamedTuple):
    """A server's answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Server(NamedTuple):
    """A running server."""

    process: "subprocess.Popen[str]"
    ready: str
    port: int

    def connect(self) -> http.client.HTTPConnection:
        """A new connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=_LIMIT_S)

    def socket(self) -> socket.socket:
        """A new connection of bare bytes."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=_LIMIT_S)

    def get(self, path: str, **headers: str) -> Reply:
        """Get an address, with headers such as `Host`."""
        return self.request("GET", path, None, headers)

    def post(self, body: Any = PICTURE, query: str = "", **headers: str) -> Reply:
        """Send a body to be predicted, with headers such as `content_type`."""
        named = {name.replace("_", "-").title(): value for name, value in headers.items()}
        return self.request(
            "POST", f"/v1/predict{query}", body, {"Content-Type": "image/png", **named}
        )

    def post_form(self, *files: tuple[str, bytes]) -> Reply:
        """Send a form of files."""
        return self.post(form(*files), content_type=FORM)

    def request(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Reply:
        """Send a request over a connection of its own."""
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())

    def metric(self, name: str) -> float:
        """The value of a metric, e.g. 'edgetl_requests_total{status="200"}' (else 0)."""
        lines = self.get("/metrics").body.decode().splitlines()
        values = [line.rpartition(" ")[2] for line in lines if line.rpartition(" ")[0] == name]
        return float(values[0]) if values else 0.0

    def stop(self) -> int:
        """Send SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_LIMIT_S)


BOUNDARY = "a-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def form(*files: tuple[str, bytes]) -> bytes:
    """The body of a form with these files."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: image/png\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, content in files
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


@contextlib.contextmanager
def running(*command: object, **environment: str) -> Iterator[Server]:
    """Start `python -m COMMAND` and wait until it serves; it must be stopped or is killed."""
    words = [sys.executable, "-m", *map(str, command)]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_with(environment)
    ) as process:
        try:
            assert process.stderr
            lines = []
            while not (found := re.search(r"http://\S+:(\d+)$", "".join(lines[-1:]))):
                line = process.stderr.readline()
                assert line, "".join(lines)
                lines.append(line)
            yield Server(process, "".join(lines), int(found[1]))
        finally:
            process.kill()


def _with(environment: Mapping[str, str]) -> dict[str, str]:
    import os

    return {**os.environ, **environment}


def wait_for(happened: Callable[[], bool]) -> None:
    """Wait until it has happened."""
    end = time.monotonic() + _LIMIT_S
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def read_all(connection: socket.socket) -> bytes:
    """What a server sends until it closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


def write_token(folder: Path) -> Path:
    """A file with the token "secret-1"."""
    path = folder / "token.txt"
    path.write_text("secret-1\n")
    return path
