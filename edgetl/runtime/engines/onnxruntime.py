"""ONNX Runtime on the CPU."""

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edgetl.runtime.engine import Engine


class OnnxRuntimeEngine:
    """An ONNX graph in an InferenceSession."""

    version: str = ort.__version__

    def __init__(self, model: bytes, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # On x86 without VNNI, sums of uint8 x int8 products overflow int16 in the default kernels,
        # and answers are silently wrong. The exact ones are slower there; elsewhere it is the same.
        options.add_session_config_entry("session.x64quantprecision", "1")
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._session.run(None, {self._input: pixels})[0]
        return logits


def load(model: tuple[bytes, ...], threads: int) -> Engine:
    """`model`: (the .onnx file,)."""
    return OnnxRuntimeEngine(model[0], threads)
