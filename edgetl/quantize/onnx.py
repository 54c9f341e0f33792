"""Static int8 for ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edgetl.core.console import quiet
from edgetl.quantize.calibration import batches
from edgetl.quantize.ranges import RangeObserver

Pixels = NDArray[np.uint8]
Ranges = dict[str, tuple[float, float]]


def quantize_onnx(
    float_files: tuple[bytes, ...], calibration: Sequence[Pixels]
) -> tuple[bytes, ...]:
    """Return `(model,)` in int8: QDQ, uint8 activations, int8 weights per channel.

    Input and output stay uint8 [1, H, W, 3] and float32 [1, C]. Uint8 activations with int8 weights
    give the same answers on ARM as on x86. The ranges are `RangeObserver`'s, not the tool's own.

    Args:
        float_files: what `export_onnx` returned.
        calibration: uint8 [H, W, 3] pictures, exactly as the runtime would feed them.

    Raises:
        EdgetlError: there is no picture, or one is not of the model's shape.
    """
    model = onnx.load_model_from_string(float_files[0])
    entry = model.graph.input[0]
    shape = [axis.dim_value for axis in entry.type.tensor_type.shape.dim]
    pictures = batches(calibration, shape)
    ranges = _observe(model, entry.name, pictures)
    overrides = {
        name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
        for name, (low, high) in ranges.items()
    }
    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            path,
            _Reader(entry.name, pictures[:1]),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_exclude=_normalisation(model),
            extra_options={"TensorQuantOverrides": overrides},
        )
        quantized = onnx.load_model(path)
    _drop_unused(quantized)
    return (quantized.SerializeToString(),)


def _observe(model: onnx.ModelProto, entry: str, pictures: Sequence[Pixels]) -> Ranges:
    """Run the float model over the pictures; return the ranges of its float tensors."""
    names = _activations(model)
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    outputs = {output.name for output in model.graph.output}
    wanted = [name for name in names if name not in outputs]
    observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        observed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    observer = RangeObserver()
    for picture in pictures:
        for name, values in zip(names, session.run(names, {entry: picture}), strict=True):
            observer.see(name, values)
    return observer.ranges() | {name: observer.widest(name) for name in outputs}


def _activations(model: onnx.ModelProto) -> list[str]:
    """Names of the float tensors that depend on the input."""
    inferred = onnx.shape_inference.infer_shapes(model)
    known = [*inferred.graph.value_info, *inferred.graph.output]
    floats = {v.name for v in known if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    depending = {model.graph.input[0].name}
    for node in model.graph.node:
        if depending.intersection(node.input):
            depending.update(node.output)
    return sorted(floats & depending)


def _drop_unused(model: onnx.ModelProto) -> None:
    """Remove constants that nothing reads; ONNX Runtime warns of each at every start."""
    read = {name for node in model.graph.node for name in node.input}
    for node in list(model.graph.node):
        if node.op_type == "Constant" and node.output[0] not in read:
            model.graph.node.remove(node)
    for tensor in list(model.graph.initializer):
        if tensor.name not in read:
            model.graph.initializer.remove(tensor)


def _normalisation(model: onnx.ModelProto) -> list[str]:
    """The nodes before the first convolution: in int8 they would round the picture repeatedly."""
    names: list[str] = []
    for node in model.graph.node:
        if node.op_type == "Conv":
            break
        names.append(node.name)
    return names


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds pictures to a tool that insists on calibrating by itself."""

    def __init__(self, name: str, pictures: Sequence[Pixels]) -> None:
        self._feeds = iter([{name: picture} for picture in pictures])

    def get_next(self) -> dict[str, Pixels] | None:
        return next(self._feeds, None)
