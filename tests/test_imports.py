"""The device half works where the workstation's libraries cannot be imported."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import edgetl

PACKAGE = Path(edgetl.__file__).parent
WORKSTATION = PACKAGE / "workstation"
NOT_ON_A_DEVICE = (
    "torch", "torchvision", "timm", "safetensors", "onnx", "onnxscript", "nncf", "litert_torch",
    "ai_edge_quantizer", "matplotlib", "jinja2", "tensorboard", "mlflow",
)  # fmt: skip

BLOCKER = f"""
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {NOT_ON_A_DEVICE!r}:
            raise ImportError(f"{{name}} is not for the device half")
        return None

sys.meta_path.insert(0, Blocker())
"""


def modules() -> list[str]:
    """Every module outside `edgetl/workstation`."""
    files = [path for path in PACKAGE.rglob("*.py") if not path.is_relative_to(WORKSTATION)]
    names = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in files
    }
    # Not those that hold nothing but an engine's library, nor those that are programs.
    left_out = ("openvino_bindings", "openvino_cache", "warm_up", "made_picture", "__main__")
    return sorted(name for name in names if not name.endswith(left_out))


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKER + code], capture_output=True, text=True, check=False
    )


def test_every_module_of_the_device_half_imports_without_the_workstation() -> None:
    names = modules()
    assert len(names) > 30
    result = run(f"for name in {names!r}: importlib.import_module(name)\n")
    assert result.returncode == 0, result.stderr


def test_the_blocker_blocks() -> None:
    result = run("importlib.import_module('edgetl.workstation.backbones.build')\n")
    assert "is not for the device half" in result.stderr


def test_a_bundle_runs_without_the_workstation(tiny_bundle: Path, pictures: Path) -> None:
    result = run(
        "from edgetl import Classifier\n"
        f"answer = Classifier({str(tiny_bundle)!r})({str(pictures / 'checks' / '00.png')!r})\n"
        "print(answer.label)\n"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() in {"checks", "slope", "stripes"}


# A prediction has no use for these, which take milliseconds to import.
NEEDLESS = (
    "asyncio", "click", "concurrent.futures", "difflib", "email", "http", "importlib.metadata",
    "json", "logging", "multiprocessing", "rich", "socket", "ssl", "unittest", "urllib.request",
    "xml", "yaml",
)  # fmt: skip


def test_a_prediction_imports_nothing_needless(tiny_bundle: Path, pictures: Path) -> None:
    bare = "import sys, numpy, PIL.Image, PIL.JpegImagePlugin, PIL.PngImagePlugin\n"
    engine = "import ai_edge_litert.interpreter\n"
    told = "print(sorted(name for name in sys.modules))\n"
    ours = (
        "from edgetl import Classifier\n"
        f"classify = Classifier({str(tiny_bundle)!r}, engine='litert')\n"
        f"classify({str(pictures / 'checks' / '00.png')!r})\n"
    )
    pytest.importorskip("ai_edge_litert")
    before, after = (
        set(ast.literal_eval(run(code).stdout))
        for code in (bare + engine + told, bare + ours + told)
    )
    assert not (after - before) & set(NEEDLESS)
    brought = {name for name in after - before if not name.startswith(("edgetl", "msgspec"))}
    assert len(brought) < 60, sorted(brought)
