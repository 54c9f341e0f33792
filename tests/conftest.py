"""Fixtures shared by all rooms. Nothing here imports the workstation half unless it is used."""

import fcntl
import functools
import http.server
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from edgetl.bundle.archive import Bundle
from edgetl.core.errors import EdgetlError
from edgetl.core.files import cache_folder
from tests.making import write_class_folders, write_paper_bundle
from tests.tiny import make_pictures, make_tiny_bundle, make_tiny_run

# One thread each: the networks are tiny, and several test processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell starts what it puts in the background with Ctrl-C ignored, and processes hand that down:
# the tests' own children are to be interrupted all the same.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Likewise `nohup` with the signal of a terminal that goes away.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Read while tests are collected, before the session gets a cache of its own.
ARM_MACHINES = cache_folder().resolve() / "emulated"


def pytest_configure(config: pytest.Config) -> None:
    """Without `-m gpu` no GPU is seen: on a CPU results repeat to the bit."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: one that began last would leave the other cores idle."""
    slow = {
        item.path
        for item in items
        if {"slow", "arm64_short"} & {m.name for m in item.iter_markers()}
    }
    items.sort(key=lambda item: item.path not in slow)


class Answer(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Command = Callable[..., Answer]


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of decoded pictures of the session's own; what was fetched before is still used."""
    own = tmp_path_factory.mktemp("cache")
    for fetched in ("weights", "wheels"):
        kept = cache_folder().resolve() / fetched
        if kept.is_dir():
            (own / fetched).symlink_to(kept, target_is_directory=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGETL_CACHE", str(own))
        yield


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first of several test processes makes, and all of them use."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / name
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / f"{name}.made").exists():
            make(folder)
            (root / f"{name}.made").touch()
    return folder


@pytest.fixture(scope="session")
def machine(session_cache: None) -> Path:
    """The emulated machine, in the cache that is kept from session to session."""
    from edgetl.arm_vm.host.build import build_machine

    own = cache_folder() / "emulated"
    if not own.exists():
        ARM_MACHINES.mkdir(parents=True, exist_ok=True)
        own.symlink_to(ARM_MACHINES, target_is_directory=True)
    try:
        return build_machine()
    except EdgetlError as error:
        pytest.skip(f"skipped: no QEMU or no network: {error} {error.hint}")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three class folders of twenty pictures each."""
    return made_once(tmp_path_factory, "pictures", make_pictures)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of six pictures."""
    return write_class_folders(tmp_path_factory.mktemp("few") / "data", 6)


@pytest.fixture(scope="session")
def tiny_run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tests.tiny.NETWORK` at 32 px, trained from scratch in seconds."""
    pytest.importorskip("torch")
    return made_once(tmp_path_factory, "run", lambda out: make_tiny_run(pictures, out))


@pytest.fixture(scope="session")
def tiny_bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every registered format in fp32 and int8, exported from `tiny_run`.

    EDGETL_TEST_BUNDLE names one made elsewhere, for machines without the workstation half.
    """
    if "EDGETL_TEST_BUNDLE" in os.environ:
        return Path(os.environ["EDGETL_TEST_BUNDLE"])
    pytest.importorskip("litert_torch")
    run = request.getfixturevalue("tiny_run")

    def make(out: Path) -> None:
        out.mkdir()
        make_tiny_bundle(run, out / "model.edgetl")

    return made_once(tmp_path_factory, "tiny-bundle", make) / "model.edgetl"


@pytest.fixture(scope="session")
def tiny(tiny_bundle: Path) -> Bundle:
    """`tiny_bundle`, opened."""
    return Bundle(tiny_bundle)


@pytest.fixture
def paper_bundle(tmp_path: Path) -> Path:
    """A bundle that opens but whose network is only a word."""
    return write_paper_bundle(tmp_path / "paper.edgetl")


@pytest.fixture
def edgetl(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """The command line's real entry point: `edgetl("run", bundle, picture)`."""
    from edgetl.cli.main import main

    def call(*args: object, stdin: bytes = b"") -> Answer:
        monkeypatch.setattr(sys, "argv", ["edgetl", *map(str, args)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return call


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded source of numbers."""
    return np.random.default_rng(0)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """A web server on this machine: its address and the folder it serves."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    root = tmp_path / "site"
    root.mkdir()
    handler = functools.partial(Quiet, directory=root)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", root
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of edgetl's."""
    monkeypatch.setenv("EDGETL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def index(site: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page of "made-weights" in a package registry, the only one pip sees."""
    url, root = site
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{url}/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip-cache"))
    page = root / "simple" / "made-weights"
    page.mkdir(parents=True)
    return page
