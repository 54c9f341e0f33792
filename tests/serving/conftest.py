"""A server for all tests of a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from tests.serving.running import Server, running


@pytest.fixture(scope="module")
def server(tiny_bundle: Path) -> Iterator[Server]:
    """`edgetl serve` as users start it, on a free port."""
    with running("edgetl", "serve", tiny_bundle, "--port", 0, "--threads", 1) as server:
        yield server
