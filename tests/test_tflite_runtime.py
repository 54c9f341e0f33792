"""tflite-runtime needs numpy < 2, so its contract runs in an environment of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="tflite-runtime 2.14.0 has no wheel after Python 3.11"
)
def test_the_engine_contract_holds_in_an_environment_with_only_tflite_runtime(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    python = tmp_path / "env" / "bin" / "python"
    target = f"{ROOT}[tflite-runtime]"
    subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "-e", target, "pytest"], check=True
    )

    result = subprocess.run(
        [str(python), "-m", "pytest", "-q", "-rs", "tests/runtime", "tests/verify", "tests/bench"],
        cwd=ROOT,
        env=os.environ | {"EDGETL_TEST_BUNDLE": str(tiny_bundle)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    contract = [line for line in result.stdout.splitlines() if "tflite-runtime" in line]
    assert not [line for line in contract if "not installed" in line], result.stdout
