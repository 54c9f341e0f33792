"""Static int8 for OpenVINO: NNCF places the quantizers, `RangeObserver` chooses their ranges."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import nncf
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as operations

from edgetl.core.console import quiet
from edgetl.quantize.calibration import batches
from edgetl.quantize.ranges import RangeObserver

Pixels = NDArray[np.uint8]
Ranges = dict[str, tuple[float, float]]
_ACTIVATION_LEVELS = 256  # weights have 255


def quantize_openvino(
    float_files: tuple[bytes, ...], calibration: Sequence[Pixels]
) -> tuple[bytes, ...]:
    """Return `(xml, bin)` in int8: int8 weights per channel, 8-bit activations.

    Input and output stay uint8 [1, H, W, 3] and float32 [1, C].

    Args:
        float_files: what `export_openvino` returned in float32.
        calibration: uint8 [H, W, 3] pictures, exactly as the runtime would feed them.

    Raises:
        EdgetlError: there is no picture, or one is not of the model's shape.
    """
    xml, weights = float_files
    model = ov.Core().read_model(model=xml, weights=weights)
    pictures = batches(calibration, list(model.input(0).shape))
    with quiet():
        quantized = nncf.quantize(
            model,
            nncf.Dataset(pictures),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(pictures),
        )
    quantizers = _activation_quantizers(quantized)
    names = sorted({source for source, _ in quantizers})
    ranges = _observe(model, names, pictures)
    for source, quantizer in quantizers:
        _set_range(quantizer, *ranges[source])
    quantized.validate_nodes_and_infer_types()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        ov.save_model(quantized, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def _activation_quantizers(model: ov.Model) -> list[tuple[str, ov.Node]]:
    """Each per-tensor quantizer of an activation, after the name of the operation it reads.

    Before depthwise convolutions NNCF has a range per channel; those keep its own.
    """
    found = []
    for node in model.get_ordered_ops():
        if node.get_type_name() != "FakeQuantize":
            continue
        levels = node.get_attributes()["levels"]
        single = all(size == 1 for size in node.input_value(1).get_shape())
        if levels == _ACTIVATION_LEVELS and single:
            found.append((node.input_value(0).get_node().get_friendly_name(), node))
    return found


def _observe(model: ov.Model, names: list[str], pictures: Sequence[Pixels]) -> Ranges:
    """Run the float model over the pictures; return the named operations' ranges."""
    observed = model.clone()
    nodes = {node.get_friendly_name(): node for node in observed.get_ordered_ops()}
    first = len(observed.outputs)
    observed.add_outputs([nodes[name].output(0) for name in names])
    compiled = ov.Core().compile_model(observed, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    observer = RangeObserver()
    for picture in pictures:
        request.infer([picture], share_inputs=True)
        for index, name in enumerate(names, first):
            observer.see(name, request.get_output_tensor(index).data)
    return observer.ranges()


def _set_range(quantizer: ov.Node, low: float, high: float) -> None:
    """Give a quantizer the range [low, high], shifted so that zero falls on a step."""
    step = max(high - low, 1e-6) / 255
    zero = round(-low / step)
    limits = (-zero * step, (255 - zero) * step)
    shape = [1] * len(quantizer.input_value(0).get_shape())
    for port, limit in zip(range(1, 5), limits * 2, strict=True):
        constant = operations.constant(np.full(shape, limit, np.float32))
        quantizer.input(port).replace_source_output(constant.output(0))
