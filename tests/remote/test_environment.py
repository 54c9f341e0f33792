"""edgetl's environment on a machine without a network, which its own pip makes of sent wheels."""

import base64
import csv
import hashlib
import io
import json
import subprocess
import zipfile
from pathlib import Path
from typing import IO

import pytest

from edgetl.core.errors import EdgetlError
from edgetl.core.progress import Silent
from edgetl.core.shipped import shipped_folder
from edgetl.fetch.wheels import Platform
from edgetl.remote.deployment.environment import environment_name
from edgetl.remote.deployment.settings import Settings
from edgetl.remote.environment import Installation, _make
from edgetl.remote.offline import carried_wheels
from edgetl.remote.wheel import PACKAGE, own_wheel
from tests.conftest import Command
from tests.remote.conftest import PYTHON
from tests.remote.namespaces import Machines
from tests.remote.repacked import write_wheels
from tests.remote.test_engines import facts_of


def test_the_wheel_holds_the_package_and_lists_every_file() -> None:
    own_wheel.cache_clear()
    wheel = own_wheel()
    with zipfile.ZipFile(io.BytesIO(wheel.content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    about = f"edgetl-{wheel.version}.dist-info"
    package = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    shipped = {
        f"edgetl/shipped/{kind}/{path.name}"
        for kind in ("recipes", "devices")
        for path in shipped_folder(kind).glob("*.yaml")
    }
    described = {f"{about}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")}
    assert len(shipped) > 10
    assert set(files) >= package | shipped | described
    listed = {row[0]: row[1:] for row in csv.reader(files[f"{about}/RECORD"].decode().splitlines())}
    assert set(listed) == set(files)
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        expected = ["", ""] if name.endswith("/RECORD") else [f"sha256={digest}", str(len(content))]
        assert listed[name] == expected


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages that edgetl and LiteRT need."""
    pytest.importorskip("ai_edge_litert")
    folder = tmp_path_factory.mktemp("wheels")
    write_wheels(["click", "numpy", "pillow", "msgspec", "pyyaml", "ai-edge-litert"], folder)
    return folder


def test_setup_installs_edgetl_once_without_a_network(
    edgetl: Command, boards: Machines, wheels: Path, tiny_bundle: Path
) -> None:
    host = boards[3]
    setup = ("devices", "setup", host.name, "--ssh-config", boards.ssh_config)
    offline = (*setup, "--engine", "litert", "--python", PYTHON, "--offline", wheels)
    path = host.home / ".cache" / "edgetl" / "remote" / own_wheel().key
    path.mkdir(parents=True)
    (path / "environment.json").write_text('{"edgetl": "0.1')  # an earlier setup was cut off
    answer = edgetl(*offline)
    assert answer.code == 0, answer.err
    machine, environment, engines = answer.out.splitlines()
    assert machine.startswith(f"{host.name}: ")
    assert (environment, engines) == (f"environment: {path} (made)", "engines: litert")
    assert answer.err.splitlines() == [
        f"{host.name}: installing edgetl {own_wheel().version} with litert"
    ]
    assert host.left() == []  # the wheels are gone

    again = edgetl(*offline, "--json")
    assert json.loads(again.out)["path"] == str(path)
    assert (json.loads(again.out)["made"], json.loads(again.out)["added"]) == (False, [])
    assert again.err == ""

    verified = edgetl("verify", tiny_bundle, "--on", host.name, "--ssh-config", boards.ssh_config)
    assert verified.code == 0, verified.err
    right = [line.split()[:3] for line in verified.out.splitlines() if " right " in line]
    assert right == [["tflite-fp32", "litert", "right"], ["tflite-int8", "litert", "right"]]
    assert host.left() == []

    more = edgetl(*setup, "--engine", "onnxruntime")
    assert (more.code, more.out) == (1, "")
    assert more.err.splitlines()[-2:] == [
        f"Error: pip on '{host.name}' cannot reach the package registry.",
        f"Hint: without a network there: edgetl devices setup {host.name} --offline wheels/",
    ]
    assert json.loads((path / "environment.json").read_text())["engines"] == ["litert"]

    removed = edgetl(*setup, "--remove", "--json")
    assert json.loads(removed.out) == {"host": host.name, "removed": str(path.parent)}
    assert not path.parent.exists()
    assert edgetl(*setup, "--remove").out == f"{host.name}: removed {path.parent}\n"


def test_a_wheel_that_cannot_be_copied_whole_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(_: object, chosen: Path, *__: object, **___: object) -> None:
        chosen.mkdir()
        (chosen / "one-1-py3-none-any.whl").write_bytes(b"whole")

    def copy(_: object, out: IO[bytes]) -> None:
        out.write(b"wh")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgetl.remote.offline.download_wheels", download)
    platform = Platform("aarch64", (3, 11), 36)
    with monkeypatch.context() as full:
        full.setattr("shutil.copyfileobj", copy)
        with pytest.raises(EdgetlError, match="No space left on device"):
            carried_wheels(own_wheel(), ["litert"], platform, tmp_path, Silent())
    assert list(tmp_path.iterdir()) == []
    (wheel,) = carried_wheels(own_wheel(), ["litert"], platform, tmp_path, Silent()).values()
    assert wheel.read_bytes() == b"whole"


@pytest.mark.parametrize("system", [True, False])
def test_a_pis_camera_needs_the_packages_of_the_system(tmp_path: Path, system: bool) -> None:
    source = "picamera2" if system else "camera:0"
    assert Settings(name="gate", source=source).needs_system_packages == system
    wanted = Installation(str(tmp_path / "made"), (), None, "", system=system)
    command = _make(facts_of("pi-4", executable=PYTHON), wanted)
    subprocess.run([*command, "--without-pip"], check=True)
    configured = (tmp_path / "made" / "pyvenv.cfg").read_text().splitlines()
    assert f"include-system-site-packages = {str(system).lower()}" in configured
    names = {environment_name(PYTHON, "3.11", ["litert"], system=one) for one in (True, False)}
    assert len(names) == 2


def test_a_full_disk_is_named_before_anything_is_sent(edgetl: Command, boards: Machines) -> None:
    host = boards[3]
    cache = host.home / ".cache"
    cache.mkdir(exist_ok=True)
    host.inside("mount", "-t", "tmpfs", "-o", "size=20m", "none", str(cache))
    try:
        answer = edgetl("devices", "setup", host.name, "--ssh-config", boards.ssh_config)
        assert host.inside("ls", "-A", str(cache)) == b""
    finally:
        host.inside("umount", str(cache))
    assert (answer.code, answer.out) == (1, "")
    assert f"'{host.name}' has too little space for edgetl: 21 MB are free" in answer.err
