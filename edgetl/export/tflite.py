"""Export to a TFLite flatbuffer."""

from __future__ import annotations

import litert_torch
import torch
from ai_edge_quantizer import qtyping, quantizer
from ai_edge_quantizer.algorithm_manager import AlgorithmName

from edgetl.core.quiet import quiet
from edgetl.export.graph import DeployGraph

_HALF = qtyping.OpQuantizationConfig(
    weight_tensor_config=qtyping.TensorQuantizationConfig(
        num_bits=16, dtype=qtyping.TensorDataType.FLOAT
    ),
    compute_precision=qtyping.ComputePrecision.FLOAT,
    explicit_dequantize=True,
)
_HALVED = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")


def export_tflite(graph: DeployGraph, *, fp16: bool = False) -> tuple[bytes, ...]:
    """Return `(flatbuffer,)`: TFLite, uint8 [1, H, W, 3] -> float32 [1, C].

    With `fp16` the weights are stored in half precision.
    """
    with quiet(), torch.inference_mode():
        model = litert_torch.convert(graph, (graph.example(),))
        flatbuffer = bytes(model.model_content())
    return (_halve_weights(flatbuffer) if fp16 else flatbuffer,)


def _halve_weights(flatbuffer: bytes) -> bytes:
    tool = quantizer.Quantizer(flatbuffer)
    for name in _HALVED:
        tool.update_quantization_recipe(
            regex=".*",
            operation_name=qtyping.TFLOperationName(name),
            op_config=_HALF,
            algorithm_key=AlgorithmName.FLOAT_CASTING,
        )
    result = tool.quantize(enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)
