"""Which operators an engine spends its time in, by the engine's own profiler."""

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.bench.latency import WARM_UP_CALLS
from edgetl.core.bench_reports import KindTime, OperatorTime, Profile
from edgetl.core.manifest import EngineName

CALLS = 100
_NO_PROFILER = (
    "{engine}'s Python package offers no profiler; the benchmark_model program of its sources has "
    "one (--enable_op_profiling=true)."
)


class Spent(NamedTuple):
    """What an operator took in all calls together."""

    kind: str
    total_ms: float


def profile(
    engine: EngineName,
    model: tuple[bytes, ...],
    pixels: NDArray[np.uint8],
    *,
    threads: int,
    calls: int = CALLS,
) -> Profile:
    """Run an artifact on the CPU with the engine's profiler on. That makes it a little slower.

    Args:
        engine: which one; its library must be here.
        model: the artifact's files, in the order the engine takes them.
        pixels: uint8 [1, H, W, 3].
        threads: how many the engine may use.
        calls: inferences that are profiled, after a warm-up that is not.
    """
    run = _PROFILERS.get(engine)
    if run is None:
        return Profile(calls=0, operators=(), kinds=(), note=_NO_PROFILER.format(engine=engine))
    return summarise_operators(run(model, pixels, threads, calls), calls)


def summarise_operators(spent: Mapping[str, Spent], calls: int) -> Profile:
    """Means and shares, costliest first, of what each operator took in `calls` inferences."""
    whole_ms = sum(one.total_ms for one in spent.values()) or 1.0
    operators = [
        OperatorTime(
            name=name,
            kind=one.kind,
            mean_ms=one.total_ms / calls,
            share=one.total_ms / whole_ms,
        )
        for name, one in spent.items()
    ]
    by_kind: dict[str, list[OperatorTime]] = defaultdict(list)
    for operator in operators:
        by_kind[operator.kind].append(operator)
    kinds = [
        KindTime(
            kind=kind,
            operators=len(members),
            mean_ms=sum(member.mean_ms for member in members),
            share=sum(member.share for member in members),
        )
        for kind, members in by_kind.items()
    ]
    return Profile(
        calls=calls,
        operators=tuple(sorted(operators, key=lambda o: -o.mean_ms)),
        kinds=tuple(sorted(kinds, key=lambda k: -k.mean_ms)),
    )


def _onnxruntime(
    model: tuple[bytes, ...], pixels: NDArray[np.uint8], threads: int, calls: int
) -> dict[str, Spent]:
    """ONNX Runtime writes a trace of every run; those of the warm-up go by first."""
    import onnxruntime as ort

    from edgetl.runtime.engines.onnxruntime import session_options

    with tempfile.TemporaryDirectory() as folder:
        options = session_options(threads, "cpu")
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "trace")
        session = ort.InferenceSession(model[0], options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        for _ in range(WARM_UP_CALLS + calls):
            session.run(None, {name: pixels})
        events = json.loads(Path(session.end_profiling()).read_bytes())
    return read_trace(events, skip=WARM_UP_CALLS)


def read_trace(events: list[dict[str, Any]], *, skip: int) -> dict[str, Spent]:
    """What each kernel took, from ONNX Runtime's trace; the first `skip` runs are left out."""
    durations: dict[str, list[float]] = defaultdict(list)
    kinds: dict[str, str] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"].removesuffix("_kernel_time")
            kinds[name] = event["args"]["op_name"]
            durations[name].append(event["dur"] / 1e3)
    return {name: Spent(kinds[name], sum(spent[skip:])) for name, spent in durations.items()}


def _openvino(
    model: tuple[bytes, ...], pixels: NDArray[np.uint8], threads: int, calls: int
) -> dict[str, Spent]:
    """OpenVINO keeps counters of the last inference."""
    from edgetl.runtime.engines.openvino_bindings import ov

    core = ov.Core()
    options = {  # as edgetl's own request is compiled, and with counters
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERF_COUNT": True,
    }
    xml, weights = model
    network = core.read_model(model=xml, weights=weights)
    request = core.compile_model(network, "CPU", options).create_infer_request()
    for _ in range(WARM_UP_CALLS):
        request.infer([pixels], share_inputs=True)
    totals: dict[str, Spent] = {}
    for _ in range(calls):
        request.infer([pixels], share_inputs=True)
        for counter in request.profiling_info:
            spent_ms = counter.real_time.total_seconds() * 1e3
            if spent_ms > 0:
                before = totals.get(counter.node_name, Spent("", 0.0)).total_ms
                kind = f"{counter.node_type} ({counter.exec_type})"
                totals[counter.node_name] = Spent(kind, before + spent_ms)
    return totals


_Profiler = Callable[[tuple[bytes, ...], NDArray[np.uint8], int, int], dict[str, Spent]]
_PROFILERS: dict[EngineName, _Profiler] = {"onnxruntime": _onnxruntime, "openvino": _openvino}
