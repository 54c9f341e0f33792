"""ONNX Runtime on the CPU, or on an NVIDIA GPU through CUDA or TensorRT."""

from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edgetl.core.cache import cache_folder
from edgetl.core.files import make_folder
from edgetl.runtime.engine import Engine, no_provider
from edgetl.runtime.processor import may_add_int8_in_16_bits

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


class OnnxRuntimeEngine:
    """An ONNX graph in an InferenceSession that computes on one provider, whole or not at all."""

    version: str = ort.__version__

    def __init__(self, model: bytes, threads: int, provider: str) -> None:
        self.provider = _PROVIDERS[provider]
        present = ort.get_available_providers()
        if self.provider not in present:
            raise no_provider("onnxruntime", provider, _known(present))
        asked = (self.provider, _provider_options(model, provider))
        self._session = ort.InferenceSession(
            model, session_options(threads, provider), providers=[asked]
        )
        # A GPU whose libraries cannot be loaded is left out with no more than a warning.
        running = self._session.get_providers()
        if self.provider not in running:
            raise no_provider("onnxruntime", provider, _known(running))
        self._input = self._session.get_inputs()[0].name

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._session.run(None, {self._input: pixels})[0]
        return logits


def _known(providers: list[str]) -> list[str]:
    return [name for name, full in _PROVIDERS.items() if full in providers]


def session_options(threads: int, provider: str) -> Any:
    """What every session of edgetl's is made with."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # On x86 without VNNI, sums of uint8 x int8 products overflow int16 in the default kernels, and
    # answers are silently wrong. The exact ones take twice as long, so nobody else is given them.
    if may_add_int8_in_16_bits():
        options.add_session_config_entry("session.x64quantprecision", "1")
    if provider != "cpu":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return options


def _provider_options(model: bytes, provider: str) -> dict[str, str]:
    """TensorRT builds an engine of the graph, which takes minutes: it is kept for the next time."""
    if provider != "tensorrt":
        return {}
    folder = cache_folder() / "tensorrt"
    make_folder(folder)
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_int8_enable": "1" if b"QuantizeLinear" in model else "0",
    }


def load(model: tuple[bytes, ...], threads: int, provider: str) -> Engine:
    """`model`: (the .onnx file,)."""
    return OnnxRuntimeEngine(model[0], threads, provider)
