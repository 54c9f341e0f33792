"""The program that changes a machine ends when it hears nothing more, here without SSH."""

import io
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edgetl.remote.address import Address
from edgetl.remote.connection import Connection
from edgetl.remote.deployment.agent import Agent, _command, _text
from tests.remote.namespaces import wait_until

SILENCE_S = 3.0


@pytest.fixture(autouse=True)
def shorter_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program ends after three seconds of silence, and signs of life come more often."""
    line = "_SILENCE_S = 60.0\n"
    assert line in _text("layout")
    place = "edgetl.remote.deployment.agent"
    monkeypatch.setattr(
        f"{place}._text", lambda name: _text(name).replace(line, f"_SILENCE_S = {SILENCE_S}\n")
    )
    monkeypatch.setattr(f"{place}._SIGN_EVERY_S", 0.3)


@contextmanager
def running() -> Iterator["subprocess.Popen[bytes]"]:
    command = _command(sys.executable, "cells")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("sent", [b"", b'{"do": "sta'], ids=["nothing", "half a request"])
def test_silence_ends_it(sent: bytes) -> None:
    with running() as process:
        assert process.stdin and process.stderr
        process.stdin.write(sent)
        process.stdin.flush()
        assert process.wait(30) == 0
        assert process.stderr.read() == b""


def test_signs_of_life_keep_it_waiting_for_the_next_request() -> None:
    stop = threading.Event()
    with running() as process:
        agent = Agent(Connection(Address("pi", "pi")), process, io.BytesIO())
        signs = threading.Thread(target=agent.give_signs, args=[stop])
        begun = time.monotonic()
        signs.start()
        wait_until(lambda: time.monotonic() > begun + 1.5 * SILENCE_S, "it would have ended")
        assert process.poll() is None
        stop.set()
        signs.join()
        assert process.wait(30) == 0
