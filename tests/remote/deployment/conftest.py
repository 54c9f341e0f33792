"""Hosts to deploy to."""

import json
import site
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

import edgetl
from edgetl.remote.deployment.environment import environment_name
from edgetl.remote.environment import EnvironmentRecord
from tests.conftest import Answer, Command
from tests.remote.deployment.systemd_hosts import SystemdHost, require_systemd
from tests.remote.namespaces import Machines, machines

# A Python that services may use: they see no home folders.
PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Three machines with systemd and an SSH server."""
    require_systemd()
    version = subprocess.run([PYTHON, "-V"], capture_output=True, text=True, check=False).stdout
    if version.split()[1:] and version.split()[1].split(".")[:2] != _own_version():
        pytest.skip(f"{PYTHON} cannot use the packages of the tests' Python")
    for path in (edgetl.__file__, *site.getsitepackages()):
        if _is_hidden(Path(path)):
            pytest.skip(f"services see neither /tmp nor home folders, and so not '{path}'")
    with machines(3, tmp_path_factory.mktemp("servers"), SystemdHost) as made:
        yield made
        for host in made.hosts:
            host.die()
            assert isinstance(host, SystemdHost)
            host.remove_groups()


def _is_hidden(path: Path) -> bool:
    """Whether a service does not see a path: it has a /tmp of its own, and no home folders."""
    hidden = ("/tmp", "/var/tmp", "/home", "/root", "/run/user")
    return any(path.resolve().is_relative_to(folder) for folder in hidden)


def _own_version() -> list[str]:
    import platform

    return platform.python_version().split(".")[:2]


@pytest.fixture
def host(servers: Machines) -> SystemdHost:
    """The first machine, with an environment and without services."""
    return ready(servers[0])


def ready(host: object, packages: tuple[str, ...] = ("litert", "serve")) -> SystemdHost:
    """Give a machine an environment, with the packages of the tests' own Python."""
    assert isinstance(host, SystemdHost)
    version = ".".join(_own_version())
    name = environment_name(PYTHON, version, packages)
    folder = host.disk(f"/opt/edgetl/remote/{name}")
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(folder)], check=True)
        installed = next((folder / "lib").glob("python*")) / "site-packages"
        added = "; ".join(f"site.addsitedir({path!r})" for path in site.getsitepackages())
        (installed / "tests.pth").write_text(f"import site; {added}\n")
        record = EnvironmentRecord(edgetl="0", python=PYTHON, version=version, engines=packages)
        (folder / "environment.json").write_text(json.dumps(msgspec.to_builtins(record)))
    return host


@pytest.fixture
def deploy(edgetl: Command, servers: Machines) -> Callable[..., Answer]:
    """`edgetl deploy` on these machines."""

    def call(*arguments: object) -> Answer:
        acts = {"--status", "--rollback", "--remove"} & set(map(str, arguments))
        options = () if acts else ("--engine", "litert", "--python", PYTHON)
        return edgetl("deploy", *arguments, *options, "--wide", "--ssh-config", servers.ssh_config)

    return call
