"""The wheel, in an environment of its own with the base and one engine, away from the checkout."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgetl import __version__

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True)
    (path,) = folder.glob("edgetl-*.whl")
    return path


@pytest.fixture(scope="module")
def edgetl_there(wheel: Path, tmp_path_factory: pytest.TempPathFactory):
    """Calls the installed `edgetl` from a folder without the source."""
    home = tmp_path_factory.mktemp("device")
    subprocess.run([sys.executable, "-m", "venv", str(home / "env")], check=True)
    python = home / "env" / "bin" / "python"
    requirement = f"edgetl[onnxruntime] @ {wheel.as_uri()}"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", requirement], check=True)

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(python.with_name("edgetl")), *map(str, arguments)],
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )

    call.python = python  # type: ignore[attr-defined]
    return call


def test_the_wheel_is_installed_without_torch(edgetl_there) -> None:
    code = "import importlib.util as u, sys; sys.exit(bool(u.find_spec('torch')))"
    assert subprocess.run([str(edgetl_there.python), "-c", code], check=False).returncode == 0
    assert edgetl_there("--version").stdout == f"edgetl, version {__version__}\n"


@pytest.mark.parametrize("kind", ["recipes", "devices"])
def test_recipes_and_devices_come_with_the_wheel(edgetl_there, kind: str) -> None:
    answer = edgetl_there(kind, "list")
    assert answer.returncode == 0, answer.stderr
    listed = [line.split()[0] for line in answer.stdout.splitlines()[1:]]
    assert listed == sorted(path.stem for path in (ROOT / kind).glob("*.yaml"))


def test_run_verify_bench_and_evaluate_work_there(
    edgetl_there, tiny_bundle: Path, pictures: Path
) -> None:
    photo = pictures / "checks" / "00.png"
    answer = edgetl_there("run", tiny_bundle, photo, "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)[0]["label"] in {"checks", "slope", "stripes"}
    answer = edgetl_there("verify", tiny_bundle, "--json")
    assert answer.returncode == 0, answer.stderr
    statuses = {r["engine"]: r["status"] for r in json.loads(answer.stdout)}
    assert statuses["onnxruntime"] == "right"
    assert statuses["openvino"] == "absent"
    answer = edgetl_there("bench", tiny_bundle, photo, "--json", "-")
    assert answer.returncode == 0, answer.stderr
    assert {row["engine"].split()[0] for row in json.loads(answer.stdout)["rows"]} == {
        "onnxruntime"
    }
    answer = edgetl_there("evaluate", tiny_bundle, pictures, "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["images"] == 60


def test_what_needs_the_workstation_says_what_to_install(edgetl_there, pictures: Path) -> None:
    answer = edgetl_there("finetune", pictures, "-o", "run")
    assert answer.returncode == 1
    assert answer.stderr.splitlines() == [
        "Error: This needs 'torch', which is not installed here.",
        "Hint: on the workstation: pip install 'edgetl[train]'",
    ]
