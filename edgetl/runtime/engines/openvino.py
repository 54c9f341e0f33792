"""OpenVINO on the CPU."""

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from edgetl.runtime.engine import Engine


class OpenVinoEngine:
    """An OpenVINO IR compiled for the CPU.

    Precision is held at f32: left alone, OpenVINO computes float layers in bf16 or fp16 on
    processors that have them, and answers differ between workstation and device.
    """

    version: str = ov.__version__.split("-")[0]

    def __init__(self, xml: bytes, weights: bytes, threads: int) -> None:
        core = ov.Core()
        model = core.read_model(model=xml, weights=weights)
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
        }
        self._request = core.compile_model(model, "CPU", options).create_infer_request()

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        result = self._request.infer([pixels], share_inputs=True)
        logits: NDArray[np.float32] = result[0]
        return logits


def load(model: tuple[bytes, ...], threads: int) -> Engine:
    """`model`: (the .xml file, the .bin file)."""
    xml, weights = model
    return OpenVinoEngine(xml, weights, threads)
