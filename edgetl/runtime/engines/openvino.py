"""OpenVINO on the CPU, an Intel GPU or an NPU."""

import numpy as np
from numpy.typing import NDArray

from edgetl.runtime.engine import Engine, no_provider
from edgetl.runtime.engines.openvino_bindings import ov
from edgetl.runtime.engines.openvino_kept import compiled


class OpenVinoEngine:
    """An OpenVINO IR compiled for one device.

    Precision is held at f32 where the device has it: left alone, OpenVINO computes float layers in
    bf16 or fp16 on processors that have them, and answers differ between workstation and device.
    An NPU has no float32.
    """

    version: str = ov.__version__.split("-")[0]

    def __init__(self, xml: bytes, weights: bytes, threads: int, provider: str) -> None:
        core = ov.Core()
        self.provider = provider.upper()
        present = [device.split(".")[0] for device in core.available_devices]
        if self.provider not in present:
            raise no_provider("openvino", provider, [name.lower() for name in present])
        options: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
        if provider != "npu":
            options["INFERENCE_PRECISION_HINT"] = "f32"
        if provider == "cpu":
            options["INFERENCE_NUM_THREADS"] = threads
            network = compiled(core, xml, weights, options)
        else:
            model = core.read_model(model=xml, weights=weights)
            network = core.compile_model(model, self.provider, options)
        self._request = network.create_infer_request()

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        result = self._request.infer([pixels], share_inputs=True)
        logits: NDArray[np.float32] = result[0]
        return logits


def load(model: tuple[bytes, ...], threads: int, provider: str) -> Engine:
    """`model`: (the .xml file, the .bin file)."""
    xml, weights = model
    return OpenVinoEngine(xml, weights, threads, provider)
