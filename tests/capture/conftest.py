"""A network camera, and pictures in the formats that cameras send."""

from collections.abc import Iterator

import pytest

from tests.capture.http_camera import HttpCamera
from tests.making import draw, encoded


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpCamera]:
    """A network camera without pages."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HttpCamera() as server:
        yield server


@pytest.fixture(scope="session")
def jpegs() -> list[bytes]:
    """Six different JPEGs."""
    kinds = ("checks", "slope", "stripes") * 2
    return [encoded(draw(kind, seed), "JPEG", quality=90) for seed, kind in enumerate(kinds)]
