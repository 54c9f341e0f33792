"""The ONNX Runtime engine: ONNX files on the CPU, or on an NVIDIA GPU with CUDA or TensorRT."""

import json
import os
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.core.files import cache_folder, make_folder
from edgetl.runtime.engines.spec import EngineSpec, Files, OperatorTotal, Session, missing_provider
from edgetl.runtime.processor import may_lack_vnni

# Its wheels contain Microsoft's telemetry client, which reads this when the library is loaded and
# otherwise leaves a session's number, `.ses`, in the folder for temporary files.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


class OnnxRuntimeSession:
    """An ONNX graph in an InferenceSession that runs entirely on one provider, or fails to load."""

    def __init__(self, model: bytes, threads: int, provider: str) -> None:
        import onnxruntime as ort

        self.version: str = ort.__version__
        self.provider = _PROVIDERS[provider]
        present = ort.get_available_providers()
        if self.provider not in present:
            raise missing_provider("onnxruntime", provider, _known(present))
        chosen = (self.provider, _provider_options(model, provider))
        self._session = ort.InferenceSession(
            model, session_options(threads, provider), providers=[chosen]
        )
        # ONNX Runtime drops a GPU provider whose libraries cannot be loaded, with only a warning.
        running = self._session.get_providers()
        if self.provider not in running:
            raise missing_provider("onnxruntime", provider, _known(running))
        self._input = self._session.get_inputs()[0].name

    def __call__(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]] = self._session.run(None, {self._input: pixels})
        return outputs


def _known(providers: list[str]) -> list[str]:
    return [name for name, full in _PROVIDERS.items() if full in providers]


def session_options(threads: int, provider: str) -> Any:
    """The SessionOptions for a provider: "cpu", "cuda" or "tensorrt"."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # On x86 without VNNI, sums of uint8 x int8 products overflow int16 in the default kernels, and
    # the outputs are silently wrong. The exact kernels take twice as long: use them only there.
    if may_lack_vnni():
        options.add_session_config_entry("session.x64quantprecision", "1")
    if provider != "cpu":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return options


def _provider_options(model: bytes, provider: str) -> dict[str, str]:
    """The provider's options; TensorRT caches the engine it builds, as building takes minutes."""
    if provider != "tensorrt":
        return {}
    folder = cache_folder() / "tensorrt"
    make_folder(folder)
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_int8_enable": "1" if b"QuantizeLinear" in model else "0",
    }


def load(files: Files, threads: int, provider: str) -> Session:
    """Load an .onnx file, `files[0]`."""
    return OnnxRuntimeSession(files[0], threads, provider)


def profile(
    files: Files, pixels: NDArray[np.uint8], *, threads: int, warm_up: int, calls: int
) -> dict[str, OperatorTotal]:
    """Each operator's total time on the CPU, from the trace that ONNX Runtime writes."""
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        options = session_options(threads, "cpu")
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "trace")
        session = ort.InferenceSession(files[0], options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        for _ in range(warm_up + calls):
            session.run(None, {name: pixels})
        events = json.loads(Path(session.end_profiling()).read_bytes())
    return read_trace(events, skip=warm_up)


def read_trace(events: list[dict[str, Any]], *, skip: int) -> dict[str, OperatorTotal]:
    """Each kernel's total time from ONNX Runtime's trace, without the first `skip` calls."""
    durations: dict[str, list[float]] = defaultdict(list)
    kinds: dict[str, str] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"].removesuffix("_kernel_time")
            kinds[name] = event["args"]["op_name"]
            durations[name].append(event["dur"] / 1e3)
    return {name: OperatorTotal(kinds[name], sum(ms[skip:])) for name, ms in durations.items()}


def here() -> list[str]:
    """The providers that this build of ONNX Runtime has."""
    import onnxruntime as ort

    return _known(ort.get_available_providers())


SPEC = EngineSpec(
    name="onnxruntime",
    format="onnx",
    library="onnxruntime",
    requirement="edgetl[onnxruntime]",
    load=load,
    providers=("cpu", "cuda", "tensorrt"),
    rank={"aarch64": 2},
    profile=profile,
    here=here,
)
