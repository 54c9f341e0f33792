"""`edgetl doctor`: one screen, one document, and no library that breaks the rest."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from edgetl import __version__
from edgetl.devices.gpu import nvidia_gpus, read_answer

ENGINES = ("onnxruntime", "litert", "openvino", "tflite-runtime")


def doctor(folder: Path) -> dict:
    """Its document, where Python finds what is in the folder before everything else."""
    result = subprocess.run(
        [sys.executable, "-m", "edgetl", "doctor", "--json"],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def write_module(folder: Path, name: str, code: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(code)


def write_program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_it_fits_one_screen(edgetl, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    answer = edgetl("doctor")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 80
    for engine in ENGINES:
        assert f"engine {engine}" in answer.out


def test_what_is_installed_and_what_is_missing(edgetl, monkeypatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "timm" else real(name, *rest),
    )
    report = json.loads(edgetl("doctor", "--json").out)
    assert report["edgetl"] == __version__
    assert report["host"]["python"] == platform.python_version()
    libraries = {(row["purpose"], row["library"]): row for row in report["libraries"]}
    assert libraries["train", "timm"] == {
        "purpose": "train",
        "library": "timm",
        "version": None,
        "to_install": "pip install 'edgetl[train]'",
    }
    assert libraries["export", "onnxruntime"]["version"] == (
        importlib.metadata.version("onnxruntime")
    )
    assert "timm: pip install 'edgetl[train]'" in edgetl("doctor").out


def test_every_engine_is_tried(edgetl) -> None:
    report = json.loads(edgetl("doctor", "--json").out)
    assert [engine["engine"] for engine in report["engines"]] == list(ENGINES)
    for engine in report["engines"]:
        here = importlib.util.find_spec(engine["library"]) is not None
        assert engine["state"] == ("runs" if here else "missing")
        assert ("cpu" in engine["providers"]) is here
        assert here or engine["detail"] == f"pip install 'edgetl[{engine['engine']}]'"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise ImportError('no libmade.so.1')", "ImportError: no libmade.so.1"),
        ("raise ValueError", "ValueError: ValueError"),
        ("import os; os.abort()", "crashed (SIGABRT)"),
    ],
)  # fmt: skip
def test_a_library_that_cannot_be_imported_leaves_the_rest(tmp_path: Path, code, why) -> None:
    write_module(tmp_path, "onnxruntime", code)
    write_module(tmp_path, "torch", code)
    report = doctor(tmp_path)
    broken, *rest = report["engines"]
    assert (broken["engine"], broken["state"], broken["detail"]) == ("onnxruntime", "broken", why)
    assert [engine["state"] for engine in rest] == [
        "runs" if importlib.util.find_spec(engine["library"]) else "missing" for engine in rest
    ]


def test_a_package_whose_engine_cannot_be_used_is_named(tmp_path: Path) -> None:
    about = tmp_path / "made-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: made\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[edgetl.engines]\nfast = made_engine:SPEC\n")
    (problem,) = doctor(tmp_path)["problems"]
    assert problem.startswith("'fast' of edgetl.engines from package 'made' is left out: ")


def test_the_cache_and_its_parts_are_measured(edgetl, cache: Path) -> None:
    for part, size in (("pixels", 3000), ("tuned", 20)):
        (cache / part).mkdir(parents=True)
        (cache / part / "made").write_bytes(bytes(size))
    report = json.loads(edgetl("doctor", "--json").out)
    parts = {"pixels": 3000, "tuned": 20}
    assert report["cache"] == {"folder": str(cache), "bytes": 3020, "parts": parts, "problem": ""}
    assert report["disk"]["free_bytes"] <= report["disk"]["total_bytes"]


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_free_memory_is_less_than_all_of_it(edgetl) -> None:
    report = json.loads(edgetl("doctor", "--json").out)
    assert 0 < report["memory_free_bytes"] < report["host"]["memory_bytes"]


def test_gpus_are_those_that_nvidia_smi_lists(edgetl, tmp_path: Path, monkeypatch) -> None:
    write_program(
        tmp_path / "nvidia-smi",
        "echo 'NVIDIA H100 80GB HBM3, 570.86.15, 81559, 81000'\n" * 2,
    )
    write_module(tmp_path, "torch", "raise ImportError('no driver for this')")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    report = json.loads(edgetl("doctor", "--json").out)
    assert [gpu["driver"] for gpu in report["gpus"]] == ["570.86.15"] * 2
    assert report["gpus"][0]["memory_bytes"] == 81559 * 2**20
    assert report["torch_without_gpu"] == "ImportError: no driver for this"
    text = edgetl("doctor", "--wide").out
    assert "2 x NVIDIA H100 80GB HBM3, driver 570.86.15, 85.5 GB" in text
    assert "torch cannot use it: ImportError: no driver for this" in text


def test_a_gpu_that_does_not_tell_its_memory_is_listed() -> None:
    (gpu,) = read_answer("NVIDIA GB10, 580.1, [N/A], [N/A]\n")
    assert (gpu.name, gpu.driver, gpu.memory_bytes, gpu.free_bytes) == (
        "NVIDIA GB10", "580.1", None, None,
    )  # fmt: skip


def test_without_nvidia_smi_the_drivers_files_are_read(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia_gpus(tmp_path) == ()
    driver = tmp_path / "proc" / "driver" / "nvidia"
    (driver / "gpus" / "0000:01:00.0").mkdir(parents=True)
    (driver / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 2024\n"
    )
    (driver / "gpus" / "0000:01:00.0" / "information").write_text("Model: \t\t NVIDIA T4\n")
    (gpu,) = nvidia_gpus(tmp_path)
    assert (gpu.name, gpu.driver, gpu.memory_bytes) == ("NVIDIA T4", "535.183.01", None)
