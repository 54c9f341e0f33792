"""What an int8 file's engine really computes in int8, asked of the engine where it tells."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from ai_edge_litert.interpreter import Interpreter

from edgetl.core.manifest import Format
from edgetl.core.quiet import quiet
from edgetl.runtime.engines.openvino_bindings import ov

Files = tuple[bytes, ...]
_WEIGHTED_ONNX = {"Conv", "Gemm", "MatMul"}
# What changes a tensor's type or place, and computes nothing.
_MOVES_ONNX = {"QuantizeLinear", "DequantizeLinear", "Transpose", "Flatten", "Reshape", "Cast"}
_WEIGHTED_OPENVINO = {"Convolution", "FullyConnected", "MatMul"}
_MOVES_OPENVINO = {"Const", "Input", "Output", "Reorder", "Reshape", "Transpose", "Convert"}
_WEIGHTED_TFLITE = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
_MOVES_TFLITE = {"QUANTIZE", "DEQUANTIZE", "CAST", "RESHAPE", "TRANSPOSE", "DELEGATE"}


class Kernels(NamedTuple):
    """Which operators run in float, by kind and number, and the layers' share of MACs in int8."""

    float_operators: dict[str, int]
    int8_macs: float


def inspect_kernels(format_: Format, files: Files) -> Kernels:
    """Look into an int8 artifact as its engine runs it on this machine.

    ONNX Runtime and OpenVINO are asked for the graph they make of it, a TFLite file says itself
    what each operator computes in. Operators that only convert or move values are left out.
    """
    ask = {"onnx": _onnx_layers, "openvino": _openvino_layers, "tflite": _tflite_layers}[format_]
    operators = list(ask(files))
    total = sum(macs for _, _, macs in operators)
    whole = sum(macs for _, in_float, macs in operators if not in_float)
    kinds = Counter(kind for kind, in_float, _ in operators if in_float)
    return Kernels(dict(sorted(kinds.items())), whole / total if total else 1.0)


# Kind, whether it computes in float, and its multiply-accumulates (0 but for layers with weights).
_Operator = tuple[str, bool, int]


def _onnx_layers(files: Files) -> Iterable[_Operator]:
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        ort.InferenceSession(files[0], options, providers=["CPUExecutionProvider"])
        optimized = onnx.load_model(options.optimized_model_filepath)
    macs = _onnx_macs(onnx.load_model_from_string(files[0]))
    whole = {optimized.graph.input[0].name}  # tensors of integers
    for node in optimized.graph.node:
        makes = node.op_type.startswith("QLinear") or node.op_type in ("QGemm", "QuantizeLinear")
        keeps = node.op_type not in ("DequantizeLinear", "Cast") and node.input[:1]
        if makes or (keeps and node.input[0] in whole):
            whole.update(node.output)
        if node.op_type not in _MOVES_ONNX:
            yield node.op_type, node.output[0] not in whole, macs.get(node.name, 0)


def _onnx_macs(model: onnx.ModelProto) -> dict[str, int]:
    """Each layer's multiply-accumulates by its node's name, which ONNX Runtime keeps."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.output)
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in inferred.initializer}
    found = {}
    for node in inferred.node:
        if node.op_type in _WEIGHTED_ONNX:
            found[node.name] = _macs(shapes[node.input[1]], shapes[node.output[0]][2:])
    return found


def _openvino_layers(files: Files) -> Iterable[_Operator]:
    core = ov.Core()
    model = core.read_model(model=files[0], weights=files[1])
    macs: dict[str, int] = {}
    for operator in model.get_ordered_ops():
        if operator.get_type_name() in ("Convolution", "GroupConvolution", "MatMul"):
            weights = list(operator.input_value(1).get_shape())
            if operator.get_type_name() == "GroupConvolution":  # [groups, out, in, ...]
                weights = [weights[0] * weights[1], *weights[2:]]
            macs[operator.get_friendly_name()] = _macs(
                weights, list(operator.output(0).get_shape())[2:]
            )
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for operator in compiled.get_runtime_model().get_ordered_ops():
        facts = operator.get_rt_info()
        kind, precision, names = (
            facts[key].astype(str)
            for key in ("layerType", "runtimePrecision", "originalLayersNames")
        )
        if kind not in _MOVES_OPENVINO:
            own = max((macs.get(name, 0) for name in names.split(",")), default=0)
            yield kind, precision not in ("u8", "i8"), own if kind in _WEIGHTED_OPENVINO else 0


def _tflite_layers(files: Files) -> Iterable[_Operator]:
    with quiet():
        interpreter = Interpreter(model_content=files[0])
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    for operator in interpreter._get_ops_details():
        kind = operator["op_name"]
        if kind in _MOVES_TFLITE:
            continue
        answer = tensors[operator["outputs"][0]]
        macs = 0
        if kind in _WEIGHTED_TFLITE:
            weights = list(tensors[operator["inputs"][1]]["shape"])
            macs = _macs(weights, [] if kind == "FULLY_CONNECTED" else answer["shape"][1:3])
        yield kind, answer["dtype"] == np.float32, macs


def _macs(weights: Iterable[Any], places: Iterable[Any]) -> int:
    """A layer's weights, each used once at every place of its answer."""
    return int(np.prod([int(side) for side in weights]) * np.prod([int(side) for side in places]))
