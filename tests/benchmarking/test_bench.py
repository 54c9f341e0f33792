import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgetl.benchmarking.cold import measure_cold
from edgetl.benchmarking.reports import BenchReport
from edgetl.benchmarking.run import CutShort, bench
from edgetl.bundle.archive import Bundle
from edgetl.core.errors import BundleError, EdgetlError, EngineError
from edgetl.core.schema import from_json, to_json
from edgetl.runtime.classifier import usable_cores
from edgetl.runtime.engines.registry import ENGINES, installed


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


def clock_of(step_s: float, *, until: float = float("inf")) -> Callable[[], float]:
    """A clock that goes on by `step_s` each time it is read; Ctrl-C comes when `until` is past."""
    now_s = 0.0

    def read() -> float:
        nonlocal now_s
        now_s += step_s
        if now_s > until:
            raise KeyboardInterrupt
        return now_s

    return read


def test_valid_mode_times_a_minute_of_each_figure(tiny: Bundle, pictures: Path) -> None:
    pytest.importorskip("onnxruntime")
    asked = {"engine": "onnxruntime", "artifact": "onnx-int8", "threads": 1, "mode": "valid"}
    paths = sorted((pictures / "checks").iterdir())[:1]
    (row,) = bench(tiny, paths, **asked, clock=clock_of(1 / 32)).rows
    assert row.end_to_end is not None
    for timed in (row.inference, row.end_to_end):
        assert (timed.calls, timed.seconds) == (1920, 60)
    (row,) = bench(tiny, **asked, clock=clock_of(1.0)).rows
    assert (row.inference.calls, row.inference.seconds) == (1024, 1024)


def test_throughput_stands_beside_the_single_stream(tiny: Bundle) -> None:
    report = bench(tiny, engine="auto", threads=1, calls=3, mode="throughput")
    (row,) = report.rows
    assert row.inference.calls == 3
    assert row.throughput is not None
    assert row.throughput.engines == usable_cores()
    assert row.throughput.pictures >= row.throughput.engines
    assert report.verdict.text.startswith("quick look")


def test_a_report_says_of_what_and_how_it_was_measured(tiny: Bundle) -> None:
    report = bench(tiny, engine="auto", threads=1, calls=3)
    assert (report.bundle_digest, report.mode) == (tiny.digest, "quick")
    assert (report.cut_short, report.comparison) == (False, None)
    (row,) = report.rows
    assert row.provider
    assert (row.throughput, row.profile) == (None, None)
    assert from_json(to_json(report), BenchReport, where="it") == report


def test_ctrl_c_keeps_the_artifacts_that_were_done(tiny: Bundle) -> None:
    pytest.importorskip("onnxruntime")
    # Each artifact takes 2 readings a call: the clock stops at the second artifact's third call.
    with pytest.raises(CutShort) as caught:
        bench(tiny, engine="onnxruntime", threads=1, calls=10, clock=clock_of(1.0, until=25.0))
    report = caught.value.report
    assert report.cut_short
    (row,) = report.rows
    assert row.inference.calls == 10
    assert "it was cut short" in report.verdict.text
    assert isinstance(caught.value, KeyboardInterrupt)


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_threads_that_the_machine_has_not_are_refused(tiny: Bundle, threads: int) -> None:
    with pytest.raises(EdgetlError) as caught:
        bench(tiny, threads=threads)
    assert str(caught.value) == f"--threads {threads} is out of range."
    assert caught.value.hint == f"this machine has {usable_cores()} cores."


def test_a_profile_comes_with_the_row_where_it_was_asked_for(tiny: Bundle) -> None:
    pytest.importorskip("onnxruntime")
    asked = {"engine": "onnxruntime", "artifact": "onnx-int8", "threads": 1, "calls": 3}
    (row,) = bench(tiny, **asked, profiled=True).rows
    assert row.profile is not None
    assert row.profile.operators


def test_an_engine_with_a_provider_is_taken_at_its_word(tiny: Bundle) -> None:
    ort = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this machine has CUDA")
    (row,) = bench(tiny, engine="onnxruntime:cpu", artifact="onnx-int8", threads=1, calls=3).rows
    assert row.provider == "CPUExecutionProvider"
    with pytest.raises(EngineError) as caught:
        bench(tiny, engine="onnxruntime:cuda", artifact="onnx-int8", threads=1)
    assert "has no 'cuda' here" in str(caught.value)
    assert caught.value.hint


@pytest.fixture
def crashing_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime takes each new process down that imports it."""
    pytest.importorskip("onnxruntime")
    broken = tmp_path / "onnxruntime"
    broken.mkdir()
    (broken / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.usefixtures("crashing_onnxruntime")
def test_an_engine_that_takes_its_process_down_is_named(tiny: Bundle) -> None:
    with pytest.raises(EngineError) as caught:
        bench(tiny, engine="onnxruntime", artifact="onnx-int8", threads=1)
    assert str(caught.value) == "Engine 'onnxruntime' crashed on 'onnx-int8' (SIGSEGV)."
    assert caught.value.hint


@pytest.mark.usefixtures("crashing_onnxruntime")
def test_the_other_engines_are_measured_where_one_crashes(edgetl, tiny_bundle: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    answer = edgetl("bench", tiny_bundle, "--threads", 1, "--json", "-")
    assert answer.code == 1
    assert "Error: Engine 'onnxruntime' crashed on 'onnx-fp32' (SIGSEGV)." in answer.err
    report = json.loads(answer.out)
    assert "litert" in {row["engine"].split()[0] for row in report["rows"]}
    assert {failed["engine"] for failed in report["failed"]} == {"onnxruntime"}
