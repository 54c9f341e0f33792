"""The device half in environments of its own: another engine, another Python."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def run_device_tests(python: str, engines: str, bundle: Path, folder: Path) -> str:
    """What the device half's tests say in a new environment with just these engines."""
    given = {"PYTHON": python, "ENGINES": engines, "BUNDLE": bundle, "DEVICE_VENV": folder / "env"}
    result = subprocess.run(
        ["make", "device-test", *(f"{name}={value}" for name, value in given.items())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="tflite-runtime 2.14.0 has no wheel after Python 3.11"
)
def test_tflite_runtime_which_needs_an_older_numpy(tiny_bundle: Path, tmp_path: Path) -> None:
    said = run_device_tests(sys.executable, "tflite-runtime", tiny_bundle, tmp_path)
    contract = [line for line in said.splitlines() if "tflite-runtime" in line]
    assert not [line for line in contract if "not installed" in line], said


@pytest.mark.pythons
@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_every_python_of_the_device_half(version: str, tiny_bundle: Path, tmp_path: Path) -> None:
    python = shutil.which(f"python{version}")
    if python is None:
        pytest.skip(f"there is no python{version} here")
    said = run_device_tests(python, "onnxruntime,openvino,litert", tiny_bundle, tmp_path)
    for engine in ("onnxruntime", "openvino", "litert"):
        assert f"'{engine}' is not installed" not in said
