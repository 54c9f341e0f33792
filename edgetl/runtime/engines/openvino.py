"""The OpenVINO engine: OpenVINO IR files on the CPU, an Intel GPU or an NPU."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.runtime.engines.spec import (
    EngineSpec,
    Files,
    OperatorTotal,
    Precision,
    Session,
    missing_provider,
)
from edgetl.runtime.processor import Machine

_LATENCY = {"PERFORMANCE_HINT": "LATENCY"}
# By default OpenVINO computes float layers in bf16 or fp16 on processors that support them, so
# outputs would differ between workstation and device. An NPU has no float32.
_FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}


class OpenVinoSession:
    """An OpenVINO IR compiled for one device; float layers run in float32 except on an NPU."""

    def __init__(self, xml: bytes, weights: bytes, threads: int, provider: str) -> None:
        from edgetl.runtime.engines.openvino_bindings import ov
        from edgetl.runtime.engines.openvino_cache import compiled

        self.version: str = ov.__version__.split("-")[0]
        core = ov.Core()
        self.provider = provider.upper()
        present = _present(core)
        if provider not in present:
            raise missing_provider("openvino", provider, present)
        options: dict[str, object] = {**_LATENCY, **({} if provider == "npu" else _FLOAT32)}
        if provider == "cpu":
            options["INFERENCE_NUM_THREADS"] = threads
            network = compiled(core, xml, weights, options)
        else:
            model = core.read_model(model=xml, weights=weights)
            network = core.compile_model(model, self.provider, options)
        self._request = network.create_infer_request()

    def __call__(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return list(self._request.infer([pixels], share_inputs=True).values())


def _present(core: Any) -> list[str]:
    """The devices that OpenVINO finds, e.g. ["cpu", "gpu"]; it numbers several of a kind."""
    return list(dict.fromkeys(device.split(".")[0].lower() for device in core.available_devices))


def here() -> list[str]:
    """The devices that OpenVINO finds on this machine."""
    from edgetl.runtime.engines.openvino_bindings import ov

    return _present(ov.Core())


def load(files: Files, threads: int, provider: str) -> Session:
    """Load an OpenVINO IR: `files` are the .xml and the .bin file."""
    xml, weights = files
    return OpenVinoSession(xml, weights, threads, provider)


def limits(machine: Machine, precision: Precision) -> str:
    """Why int8 outputs would be wrong on a machine; "" if no problem is known.

    int8 was measured to be silently wrong on ARM (Cortex-A53, A72 and A76) and on an x86 processor
    without VNNI (Haswell, emulated).
    """
    if not precision.scheme.startswith("int8"):
        return ""
    if machine.isa in ("aarch64", "armv7"):
        return "OpenVINO's int8 gives wrong answers on ARM processors."
    if machine.int8_may_saturate and not precision.reduced_range:
        return (
            "OpenVINO's int8 overflows on x86 processors without VNNI, unless the bundle was made "
            "with --target x86-avx2."
        )
    return ""


def profile(
    files: Files, pixels: NDArray[np.uint8], *, threads: int, warm_up: int, calls: int
) -> dict[str, OperatorTotal]:
    """Each operator's total time on the CPU, summed over OpenVINO's counters of each call."""
    from edgetl.runtime.engines.openvino_bindings import ov

    core = ov.Core()
    options = {**_LATENCY, **_FLOAT32, "INFERENCE_NUM_THREADS": threads, "PERF_COUNT": True}
    xml, weights = files
    network = core.read_model(model=xml, weights=weights)
    request = core.compile_model(network, "CPU", options).create_infer_request()
    for _ in range(warm_up):
        request.infer([pixels], share_inputs=True)
    totals: dict[str, OperatorTotal] = {}
    for _ in range(calls):
        request.infer([pixels], share_inputs=True)
        for counter in request.profiling_info:
            spent_ms = counter.real_time.total_seconds() * 1e3
            if spent_ms > 0:
                before = totals.get(counter.node_name, OperatorTotal("", 0.0)).total_ms
                kind = f"{counter.node_type} ({counter.exec_type})"
                totals[counter.node_name] = OperatorTotal(kind, before + spent_ms)
    return totals


SPEC = EngineSpec(
    name="openvino",
    format="openvino",
    library="openvino",
    requirement="edgetl[openvino]",
    load=load,
    providers=("cpu", "gpu", "npu"),
    limits=limits,
    profile=profile,
    here=here,
)
