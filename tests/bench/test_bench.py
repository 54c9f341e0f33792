from pathlib import Path

import pytest

from edgetl.bench.cold import measure_cold
from edgetl.bench.run import bench
from edgetl.core.bundle import Bundle
from edgetl.core.errors import BundleError, EngineError
from edgetl.runtime.engine import ENGINES, installed


def test_all_means_every_artifact_through_every_engine_that_is_here(tiny: Bundle) -> None:
    report = bench(tiny, engine="all", threads=1, calls=2)
    assert {(row.artifact, row.engine.split()[0]) for row in report.rows} == {
        (artifact.name, engine)
        for artifact in tiny.manifest.artifacts
        for engine, info in ENGINES.items()
        if info.format == artifact.format and installed(engine)
    }


def test_a_row_holds_every_figure(tiny: Bundle, pictures: Path) -> None:
    pytest.importorskip("onnxruntime")
    paths = sorted((pictures / "checks").iterdir())[:2]
    report = bench(tiny, paths, engine="onnxruntime", artifact="onnx-int8", threads=1)
    assert (report.bundle, report.pictures) == (str(tiny.path), 2)
    (row,) = report.rows
    assert row.artifact == "onnx-int8"
    assert row.engine.startswith("onnxruntime ")
    assert (row.threads, row.bytes) == (1, tiny.artifact("onnx-int8").bytes)
    for latency in (row.inference, row.decode, row.preprocess, row.end_to_end):
        assert latency is not None
        assert latency.calls == 200
        assert 0 < latency.p50_ms <= latency.p90_ms <= latency.p99_ms
        assert latency.mean_ms > 0
    # A whole answer holds its parts, in each call and so on the average.
    assert row.end_to_end.mean_ms > max(row.decode.mean_ms, row.preprocess.mean_ms)
    assert row.cold_start_ms > row.inference.p50_ms
    assert row.peak_memory_bytes > row.bytes


def test_without_pictures_only_inference_is_timed(tiny: Bundle) -> None:
    report = bench(tiny, engine="auto", threads=1, calls=3)
    (row,) = report.rows
    assert (row.decode, row.preprocess, row.end_to_end) == (None, None, None)
    assert row.inference.calls == 3
    assert row.artifact.endswith("-int8")


def test_a_misspelt_artifact_or_engine_suggests_the_nearest(tiny: Bundle) -> None:
    with pytest.raises(BundleError) as caught:
        bench(tiny, artifact="onnx-int9")
    assert caught.value.hint.startswith("did you mean 'onnx-int8'?")
    with pytest.raises(EngineError) as missing:
        bench(tiny, engine="open-vino")
    assert missing.value.hint.startswith("did you mean 'openvino'?")


def test_a_cold_start_that_fails_says_why(tiny_bundle: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(EngineError) as caught:
        measure_cold(tiny_bundle, "onnxruntime", "onnx-int8", 100_000, None)
    assert str(caught.value) == (
        "Engine 'onnxruntime' failed on 'onnx-int8': --threads 100000 is out of range."
    )
