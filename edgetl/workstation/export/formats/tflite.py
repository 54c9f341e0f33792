"""The TFLite format, measured with LiteRT."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from edgetl.bundle.manifest import Scheme
from edgetl.core.quiet import quiet
from edgetl.runtime.engines.spec import Files
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.export.formats.spec import FormatSpec, Operator, layer_macs

if TYPE_CHECKING:
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
    import litert_torch
    import torch

    from edgetl.workstation.export.graph.feature_map import exported_module

    with quiet(), torch.inference_mode():
        model = litert_torch.convert(exported_module(graph, pool_last=True), (graph.example(),))
        flatbuffer = bytes(model.model_content())
    return (_halve_weights(flatbuffer) if fp16 else flatbuffer,)


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
