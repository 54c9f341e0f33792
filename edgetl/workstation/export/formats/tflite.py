"""The TFLite format, measured with LiteRT."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from edgetl.bundle.manifest import Scheme
from edgetl.core.quiet import quiet
from edgetl.runtime.engines.spec import Files
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.export.formats.spec import FormatSpec, Operator, layer_macs

if TYPE_CHECKING:
    from torch import nn

    from edgetl.workstation.export.graph.deploy import DeployGraph
    from edgetl.workstation.export.int8.plan import QuantizationPlan

# The operators with weights.
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
# Operators that only convert, move or rearrange values.
_MOVES = {"QUANTIZE", "DEQUANTIZE", "CAST", "RESHAPE", "TRANSPOSE", "DELEGATE"}


def export_tflite(graph: DeployGraph, *, fp16: bool = False) -> Files:
    """Return `(flatbuffer,)`: TFLite, uint8 [1, H, W, 3] -> float32 [1, C].

    With `fp16` the weights are stored in half precision.
    """
    flatbuffer = _converted(graph)
    return (_halve_weights(flatbuffer) if fp16 else flatbuffer,)


class _Conversion(NamedTuple):
    """A flatbuffer, and what it was made of: the state of the graph, and its `pool`."""

    state: str
    pool: str | None
    flatbuffer: bytes


# The last conversion of each backbone that is still in use. A conversion takes seconds, and an
# export uses each several times: in fp16, with other layers in int8, and without the feature map.
_CONVERSIONS: WeakKeyDictionary[nn.Module, _Conversion] = WeakKeyDictionary()


def _converted(graph: DeployGraph) -> bytes:
    """Return a graph's float32 flatbuffer; it is converted if it was not, or differently."""
    state = _state(graph)
    known = _CONVERSIONS.get(graph.backbone)
    if known is None or known.state != state or graph.pool not in (known.pool, None):
        known = _CONVERSIONS[graph.backbone] = _Conversion(state, graph.pool, _convert(graph))
    if graph.pool == known.pool:
        return known.flatbuffer
    return _without_feature_map(known.flatbuffer)


def _state(graph: DeployGraph) -> str:
    """Return a hash of what may change in a graph: its weights, and how it reads the pixels."""
    digest = hashlib.sha256(f"{graph.pixel_zero} {graph.pixel_step}".encode())
    for name, tensor in graph.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()


def _convert(graph: DeployGraph) -> bytes:
    import litert_torch
    import torch

    from edgetl.workstation.export.graph.feature_map import exported_module

    with quiet(), torch.inference_mode():
        model = litert_torch.convert(exported_module(graph, pool_last=True), (graph.example(),))
        return bytes(model.model_content())


def _without_feature_map(flatbuffer: bytes) -> bytes:
    """Remove the second output, and the operators that only it needs."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(flatbuffer))
    (graph,), (signature,) = model.subgraphs, model.signatureDefs
    removed = graph.outputs[1]
    graph.outputs = graph.outputs[:1]
    signature.outputs = [named for named in signature.outputs if named.tensorIndex != removed]
    needed, operators = set(graph.outputs), []
    for operator in reversed(graph.operators):
        if needed.intersection(operator.outputs):
            needed.update(operator.inputs)
            operators.append(operator)
    graph.operators = operators[::-1]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _halve_weights(flatbuffer: bytes) -> bytes:
    from ai_edge_quantizer import qtyping, quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    half = qtyping.OpQuantizationConfig(
        weight_tensor_config=qtyping.TensorQuantizationConfig(
            num_bits=16, dtype=qtyping.TensorDataType.FLOAT
        ),
        compute_precision=qtyping.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )
    tool = quantizer.Quantizer(flatbuffer)
    for name in WEIGHTED:
        tool.update_quantization_recipe(
            regex=".*",
            operation_name=qtyping.TFLOperationName(name),
            op_config=half,
            algorithm_key=AlgorithmName.FLOAT_CASTING,
        )
    result = tool.quantize(enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def _write_float(graph: DeployGraph, scheme: Scheme) -> Files:
    return export_tflite(graph, fp16=scheme == "fp16")


def _write_int8(plan: QuantizationPlan, picture: Pixels) -> Files:
    from edgetl.workstation.export.formats.tflite_int8 import quantize_tflite

    return quantize_tflite(export_tflite(plan.graph), plan, picture)


def _operators(files: Files) -> Iterator[Operator]:
    """Yield the file's operators; the type of an operator's output tells what it computes in."""
    from ai_edge_litert.interpreter import Interpreter

    with quiet():
        interpreter = Interpreter(model_content=files[0])
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    for operator in interpreter._get_ops_details():
        kind = operator["op_name"]
        if kind in _MOVES:
            continue
        output = tensors[operator["outputs"][0]]
        macs = 0
        if kind in WEIGHTED:
            weights = list(tensors[operator["inputs"][1]]["shape"])
            macs = layer_macs(weights, [] if kind == "FULLY_CONNECTED" else output["shape"][1:3])
        yield Operator(kind, output["dtype"] == np.float32, macs)


SPEC = FormatSpec(
    name="tflite",
    suffixes=("tflite",),
    schemes=("fp32", "fp16", "int8"),
    engine="litert",
    libraries=("litert_torch", "ai_edge_litert", "ai_edge_quantizer"),
    write_float=_write_float,
    write_int8=_write_int8,
    operators=_operators,
)
