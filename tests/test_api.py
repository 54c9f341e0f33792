"""`import edgetl`: its names, imported when they are used."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import edgetl
from edgetl.core.errors import EdgetlError

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


def test_importing_it_imports_nothing_else() -> None:
    code = "import sys, edgetl; print([m for m in ('numpy', 'PIL', 'torch') if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


@pytest.mark.parametrize("name", edgetl.__all__)
def test_every_name_is_there(name: str) -> None:
    if name in ("export", "finetune", "report", "search"):
        pytest.importorskip("torch")
    if name == "search":
        pytest.importorskip("optuna")
    if name == "report":
        pytest.importorskip("captum")
    found = getattr(edgetl, name)
    assert isinstance(found, str) if name == "__version__" else callable(found)


@pytest.mark.skipif(not README.is_file(), reason="a distribution without its README")
def test_the_readme_names_all_of_them() -> None:
    text = README.read_text()
    assert [n for n in edgetl.__all__ if f"edgetl.{n}" not in text and n != "__version__"] == []
    assert len(text.splitlines()) <= 110


def test_without_torch_the_workstation_half_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgetl.workstation.libraries.is_here", lambda name: name != "torch")
    with pytest.raises(EdgetlError, match="needs 'torch', which is not installed") as caught:
        _ = edgetl.finetune
    assert caught.value.hint == "on the workstation: pip install 'edgetl[train]'"


def test_a_run_has_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(EdgetlError, match="is a run; --artifact, --engine and --against belong"):
        edgetl.evaluate(tmp_path, tmp_path, artifact="onnx-int8")


@pytest.mark.parametrize("room", ["pipeline", "quantize", "finetune.loop", "core.bundle", "verify"])
def test_a_room_that_has_moved_is_an_import_error_that_names_it(room: str) -> None:
    first = room.split(".")[0]
    with pytest.raises(ImportError, match=first):
        importlib.import_module(f"edgetl.{room}")
