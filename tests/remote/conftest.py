"""Machines to log in to, and environments on them."""

import json
import site
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgetl.remote.environment import EnvironmentRecord
from edgetl.remote.wheel import own_wheel
from tests.remote.namespaces import Host, Machines, machines

# The Python that the tests' own environment was made from.
PYTHON = getattr(sys, "_base_executable", sys.executable)


@pytest.fixture(scope="session")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Four machines with an SSH server."""
    with machines(4, tmp_path_factory.mktemp("boards")) as made:
        yield made


def furnish(host: Host, engines: tuple[str, ...] = ("litert",)) -> Path:
    """Give a machine an environment at once, with the packages of the tests' own Python.

    Setup itself, which takes pip some seconds, is tested in test_environment.py.
    """
    folder = host.home / ".cache" / "edgetl" / "remote" / own_wheel().key
    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = next((folder / "lib").glob("python*")) / "site-packages"
    added = "; ".join(f"site.addsitedir({path!r})" for path in site.getsitepackages())
    (packages / "tests.pth").write_text(f"import site; {added}\n")
    version = ".".join(map(str, sys.version_info[:2]))
    record = EnvironmentRecord(edgetl="0", python=PYTHON, version=version, engines=engines)
    (folder / "environment.json").write_text(
        json.dumps({name: getattr(record, name) for name in record.__struct_fields__})
    )
    return folder


@pytest.fixture(scope="session")
def furnished(boards: Machines) -> Machines:
    """`boards`, the first three with an environment."""
    for host in boards.hosts[:3]:
        furnish(host)
    return boards
