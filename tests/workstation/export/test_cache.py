import os
import shutil
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("litert_torch")

from edgetl.bundle.archive import Bundle
from edgetl.core.progress import Silent
from edgetl.devices.profiles import load_device
from edgetl.workstation.backbones.checkpoint import read_facts, save_facts
from edgetl.workstation.export import artifacts
from edgetl.workstation.export import cache as cache_module
from edgetl.workstation.export.cache import ExportCache
from edgetl.workstation.export.export import export
from edgetl.workstation.export.formats.registry import FORMATS
from tests.making import Remarks


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("this was made before")


def test_a_second_export_makes_nothing_again_and_comes_to_the_same(
    tiny_run: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = export(tiny_run, tmp_path / "first.edgetl", max_drop_pp=100.0)
    assert len(list(cache.glob("exports/*/answers-*"))) == 7
    for spec in FORMATS.own():
        without = spec._replace(write_float=refuse, write_int8=refuse, operators=refuse)
        monkeypatch.setitem(FORMATS._own, spec.name, without)
    monkeypatch.setattr(artifacts, "calibration_pixels", refuse)
    second = export(tiny_run, tmp_path / "second.edgetl", max_drop_pp=99.0)
    assert second.manifest.artifacts == first.manifest.artifacts


def test_another_network_is_made_anew(
    tiny_run: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(tiny_run, tmp_path / "m.edgetl", formats=["onnx"], schemes=["fp32"])
    other = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    save_facts(other, msgspec.structs.replace(read_facts(other), temperature=2.0))
    monkeypatch.setitem(FORMATS._own, "onnx", FORMATS["onnx"]._replace(write_float=refuse))
    with pytest.raises(AssertionError, match="made before"):
        export(other, tmp_path / "m.edgetl", formats=["onnx"], schemes=["fp32"])


def test_int8_for_tensorrt_is_another_export_and_the_bundle_says_whom_it_is_for(
    tiny_run: Path, tmp_path: Path, cache: Path
) -> None:
    device = load_device("jetson-orin-nano")
    plain = export(
        tiny_run, tmp_path / "plain.edgetl", formats=["onnx"], schemes=["int8"], max_drop_pp=100.0
    )
    symmetric = export(
        tiny_run, tmp_path / "symmetric.edgetl",
        formats=["onnx"], schemes=["int8"], target=device, max_drop_pp=100.0,
    )  # fmt: skip
    assert plain.manifest.artifacts[0].files != symmetric.manifest.artifacts[0].files
    assert len(list(cache.glob("exports/*"))) == 2
    assert plain.manifest.target is None
    assert symmetric.manifest.target
    assert symmetric.manifest.target.device == "jetson-orin-nano"
    assert symmetric.manifest.target.engines == device.engines


def test_a_cache_that_cannot_be_written_is_said_and_stops_nothing(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    monkeypatch.setenv("EDGETL_CACHE", str(tmp_path / "cache"))
    listener = Remarks()
    export(tiny_run, tmp_path / "m.edgetl", formats=["onnx"], schemes=["fp32"], progress=listener)
    assert Bundle(tmp_path / "m.edgetl").manifest.artifacts
    assert [t for t in listener.said if t.startswith("nothing of this export is kept")]


def test_what_is_damaged_is_made_again(cache: Path) -> None:
    stored = ExportCache(["a"], Silent())
    stored.put("number", 1)
    (path,) = cache.glob("exports/*/number.msgpack")
    path.write_bytes(b"\xc1")
    assert stored.get_or_compute("number", int, lambda: 2) == 2
    assert ExportCache(["a"], Silent()).get("number", int) == 2
    assert ExportCache(["b"], Silent()).get("number", int) is None


def test_what_was_used_longest_ago_makes_room(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "MAX_BYTES", 2500)
    for age, name in ((30, "a"), (20, "b"), (10, "c")):
        stored = ExportCache([name], Silent())
        stored.put("bytes", bytes(1000))
        path = next(p for p in (cache / "exports").iterdir() if p.stat().st_mtime > 1e9 + 100)
        os.utime(path, (1e9 - age, 1e9 - age))
    left = ExportCache(["d"], Silent())
    assert left.get("bytes", bytes) is None
    assert ExportCache(["a"], Silent()).get("bytes", bytes) is None
    assert ExportCache(["b"], Silent()).get("bytes", bytes) == bytes(1000)
