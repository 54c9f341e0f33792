import numpy as np
import pytest

from edgetl.benchmarking.profile import profile, summarise_operators
from edgetl.bundle.archive import Bundle
from edgetl.runtime.engines.onnxruntime import read_trace
from edgetl.runtime.engines.spec import OperatorTotal


def test_shares_and_means_are_worked_out_by_operator_and_by_kind() -> None:
    found = summarise_operators(
        {
            "a": OperatorTotal("Conv", 30.0),
            "b": OperatorTotal("Add", 10.0),
            "c": OperatorTotal("Conv", 60.0),
        },
        calls=10,
    )
    assert [(o.name, o.kind, o.mean_ms) for o in found.operators] == [
        ("c", "Conv", 6.0), ("a", "Conv", 3.0), ("b", "Add", 1.0),
    ]  # fmt: skip
    assert [o.share for o in found.operators] == pytest.approx([0.6, 0.3, 0.1])
    assert [(k.kind, k.operators) for k in found.kinds] == [("Conv", 2), ("Add", 1)]
    assert [k.mean_ms for k in found.kinds] == pytest.approx([9.0, 1.0])
    assert [k.share for k in found.kinds] == pytest.approx([0.9, 0.1])


def test_a_trace_is_read_without_its_warm_up_and_what_is_no_kernel() -> None:
    def kernel(name: str, us: int) -> dict:
        return {"cat": "Node", "name": f"{name}_kernel_time", "dur": us, "args": {"op_name": "Op"}}

    run = {"cat": "Session", "name": "model_run", "dur": 10_000}
    fence = {"cat": "Node", "name": "x_fence_before", "dur": 9, "args": {"op_name": "Op"}}
    events = [
        run, fence, kernel("x", 900), kernel("y", 800),
        run, fence, kernel("x", 100), kernel("y", 50),
        run, fence, kernel("x", 300), kernel("y", 50),
    ]  # fmt: skip
    assert read_trace(events, skip=1) == {
        "x": OperatorTotal("Op", pytest.approx(0.4)), "y": OperatorTotal("Op", pytest.approx(0.1)),
    }  # fmt: skip


def pixels_for(tiny: Bundle) -> np.ndarray:
    size_px = tiny.manifest.preprocess.size_px
    return np.zeros((1, size_px, size_px, 3), np.uint8)


@pytest.mark.parametrize(
    ("engine", "artifact", "convolution"),
    [("onnxruntime", "onnx-int8", "QLinearConv"), ("openvino", "openvino-int8", "Convolution")],
)
def test_an_engine_tells_where_its_time_goes(tiny, engine, artifact, convolution) -> None:
    pytest.importorskip(engine)
    files = tiny.files(tiny.artifact(artifact))
    found = profile(engine, files, pixels_for(tiny), threads=1, calls=5)
    assert found.calls == 5
    assert found.note == ""
    assert any(kind.kind.startswith(convolution) for kind in found.kinds)
    assert sum(o.share for o in found.operators) == pytest.approx(1)
    assert sum(k.share for k in found.kinds) == pytest.approx(1)
    times = [o.mean_ms for o in found.operators]
    assert times == sorted(times, reverse=True)
    assert times[-1] >= 0


def test_an_engine_without_a_profiler_says_so(tiny: Bundle) -> None:
    found = profile("litert", tiny.files(tiny.artifact("tflite-int8")), pixels_for(tiny), threads=1)
    assert (found.calls, found.operators, found.kinds) == (0, (), ())
    assert found.note.startswith("litert's Python package offers no profiler;")
