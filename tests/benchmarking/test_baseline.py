from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgetl.benchmarking.baseline import compare, host_differences, read_baseline, regressions
from edgetl.benchmarking.latency import summarise
from edgetl.bundle.archive import Bundle
from edgetl.core.errors import EdgetlError, SchemaError
from edgetl.core.schema import to_json
from tests.benchmarking.rows import HOST, report, row


def verdict(old_ms: float, new_ms: float, **other: object) -> str:
    (one,) = compare([row(old_ms)], [row(new_ms, **other)])
    return one.verdict


def test_a_median_clearly_above_the_old_one_is_slower() -> None:
    (one,) = compare([row(50.0)], [row(60.0)])
    assert one.verdict == "slower"
    assert one.ratio == pytest.approx(1.2)
    assert (one.old_ms, one.new_ms) == pytest.approx((50, 60))
    assert regressions([one]) == [
        "onnx-int8 through onnxruntime 1.31.1 takes 60.00 ms, 1.20 times the baseline's 50.00"
    ]


def test_a_little_slower_is_the_same_however_narrow_the_intervals_are() -> None:
    (one,) = compare([row(50.0, calls=100_000)], [row(52.0, calls=100_000)])
    assert one.old_interval.high_ms < one.new_interval.low_ms
    assert one.verdict == "same"
    assert regressions([one]) == []


def test_much_slower_is_the_same_where_the_intervals_overlap() -> None:
    spread = summarise(np.concatenate([np.full(6, 10.0), np.full(8, 100.0)]))
    (one,) = compare([row(50.0)], [row(inference=spread)])
    assert one.ratio == pytest.approx(2)
    assert one.verdict == "same"


def test_faster_is_no_regression() -> None:
    (one,) = compare([row(60.0)], [row(50.0)])
    assert one.verdict == "faster"
    assert regressions([one]) == []


def test_too_few_calls_for_an_interval_prove_nothing() -> None:
    assert verdict(50.0, 500.0, calls=3) == "same"


def test_rows_are_matched_by_artifact_engine_provider_and_threads_but_not_by_version() -> None:
    assert verdict(50.0, 60.0, engine="onnxruntime 1.99.0") == "slower"
    for other in (
        {"artifact": "onnx-fp32"}, {"engine": "openvino 1"}, {"threads": 1}, {"provider": "GPU"},
    ):  # fmt: skip
        assert verdict(50.0, 60.0, **other) == "not in the baseline"


def test_hosts_are_told_apart_by_what_makes_them_fast_and_not_by_their_load() -> None:
    assert (
        host_differences(HOST, msgspec.structs.replace(HOST, load_1min=9.0, python="3.12.1")) == ""
    )
    other = msgspec.structs.replace(HOST, cores=2, isa=("asimd", "i8mm"))
    assert host_differences(HOST, other) == "cores 4, now 2; isa asimd, now asimd i8mm"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_report_is_read_back_as_it_was_written(paper_bundle: Path, tmp_path: Path) -> None:
    bundle = Bundle(paper_bundle)
    made = report([row(), row(artifact="onnx-fp32")], bundle.digest)
    assert read_baseline(write(tmp_path / "b.json", to_json(made)), bundle) == made


def test_a_baseline_of_another_bundle_is_refused(paper_bundle: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "b.json", to_json(report([row()])))
    with pytest.raises(EdgetlError) as caught:
        read_baseline(path, Bundle(paper_bundle))
    assert str(caught.value) == (
        f"'{path}' was measured with another bundle, or before 'model.edgetl' was changed."
    )


def test_what_is_no_report_is_refused(paper_bundle: Path, tmp_path: Path) -> None:
    bundle = Bundle(paper_bundle)
    good = to_json(report([row()], bundle.digest))
    no_time = msgspec.json.decode(good)
    no_time["rows"][0]["inference"]["p50_ms"] = 0.0
    for text in ("", "[]", "{}", good[:-5], msgspec.json.encode(no_time).decode()):
        with pytest.raises(SchemaError) as caught:
            read_baseline(write(tmp_path / "b.json", text), bundle)
        assert "--json FILE" in caught.value.hint
    with pytest.raises(SchemaError):
        read_baseline(tmp_path / "none.json", bundle)
    empty = to_json(report([], bundle.digest))
    with pytest.raises(EdgetlError, match="holds no measured artifact"):
        read_baseline(write(tmp_path / "b.json", empty), bundle)
