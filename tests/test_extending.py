"""docs/extending.md: the package on that page, installed, through edgetl's own contract tests."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "extending.md"
CONTRACTS = (
    "tests/runtime/test_engines.py",
    "tests/workstation/export/formats/test_formats.py",
    "tests/workstation/export/int8/test_int8.py",
    "tests/workstation/backbones/test_build.py",
    "tests/workstation/backbones/test_head.py",
)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables with which Python finds the package, and nothing else is different."""
    source = tmp_path_factory.mktemp("source")
    blocks = re.findall(r"^```\w+\n# (\S+)\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert len(blocks) == 4
    for name, text in blocks:
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(text)
    installed = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*command, "--target", str(installed), str(source)], check=True)
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{installed}"}


def run(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_it_adds_passes_edgetls_own_contract_tests(environment: dict[str, str]) -> None:
    chosen = "ort- or ort] or small_net"
    result = run(environment, "pytest", *CONTRACTS, "-k", chosen, "-p", "no:cacheprovider")
    assert result.returncode == 0, result.stdout[-3000:]
    (passed,) = re.findall(r"(\d+) passed", result.stdout)
    assert int(passed) >= 40


def test_it_goes_from_pictures_to_labels(
    environment: dict[str, str], pictures: Path, tmp_path: Path
) -> None:
    run_folder, model = tmp_path / "run", tmp_path / "m.edgetl"
    finetuned = run(
        environment, "edgetl", "finetune", pictures, "-o", run_folder, "--backbone", "small_net",
        "--weights", "none", "--epochs", 3, "--image-size", 32,
    )  # fmt: skip
    assert finetuned.returncode == 0, finetuned.stderr
    export = ("edgetl", "export", run_folder, "-o", model, "--max-drop", 100)
    exported = run(environment, *export, "--format", "ort,onnx")
    assert exported.returncode == 0, exported.stderr
    assert "ort-int8" in exported.stdout
    verified = run(environment, "edgetl", "verify", model)
    assert verified.returncode == 0, verified.stdout
    picture = pictures / "checks" / "00.png"
    answered = run(environment, "edgetl", "run", model, picture, "--engine", "ort", "--json")
    assert answered.returncode == 0, answered.stderr
    assert '"artifact": "ort-int8"' in answered.stdout
    # A device without the package opens the bundle, runs the rest, and says what it lacks.
    plain = {**environment, "PYTHONPATH": str(ROOT)}
    other = run(plain, "edgetl", "run", model, picture, "--json")
    assert '"artifact": "onnx-int8"' in other.stdout
    only = run(environment, *export, "--format", "ort", "--int8")
    assert only.returncode == 0, only.stderr
    lacking = run(plain, "edgetl", "run", model, picture)
    assert lacking.returncode == 1
    assert "No engine that is registered here runs the format 'ort'." in lacking.stderr
    assert "install the package that adds one" in lacking.stderr
    unverified = run(plain, "edgetl", "verify", model)
    assert unverified.returncode == 1
    assert "ort-int8  none    absent" in unverified.stdout
    unmeasured = run(plain, "edgetl", "bench", model)
    assert "install the package that adds one" in unmeasured.stderr
