"""The ONNX format, measured with ONNX Runtime."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.bundle.manifest import Scheme
from edgetl.core.quiet import quiet
from edgetl.runtime.engines.spec import Files
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.export.formats.spec import FormatSpec, Operator, layer_macs

if TYPE_CHECKING:
    import onnx

    from edgetl.workstation.export.graph.deploy import DeployGraph
    from edgetl.workstation.export.int8.plan import QuantizationPlan

OPSET = 17
_WEIGHTED = {"Conv", "Gemm", "MatMul"}
# Operators that only convert, move or rearrange values.
_MOVES = {"QuantizeLinear", "DequantizeLinear", "Transpose", "Flatten", "Reshape", "Cast"}


def export_onnx(graph: DeployGraph) -> Files:
    """Return `(model,)`: ONNX, opset 17, uint8 [1, H, W, 3] -> float32 [1, C].

    The TorchScript exporter is used on purpose: for an eval-mode convolutional network it writes
    the same operators as the one based on torch.export in a tenth of the time.
    """
    import onnx
    import torch

    from edgetl.workstation.export.graph.deploy import INPUT_NAME
    from edgetl.workstation.export.graph.feature_map import exported_module, output_names

    file = io.BytesIO()
    with quiet(), torch.inference_mode():
        torch.onnx.export(
            exported_module(graph),
            (graph.example(),),
            file,  # type: ignore[arg-type]  # torch's annotation omits file objects
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=output_names(graph),
        )
    model = onnx.load_model_from_string(file.getvalue())
    _merge_pads(model.graph)
    return (model.SerializeToString(),)


def _merge_pads(graph: onnx.GraphProto) -> None:
    """Merge zero padding into the convolution behind it: ONNX allows another padding per side.

    The only Pad nodes in a graph are those of `ZeroPad`, each before one convolution.
    """
    from onnx import numpy_helper

    pads = {node.output[0]: node for node in graph.node if node.op_type == "Pad"}
    constants = {node.output[0]: node for node in graph.node if node.op_type == "Constant"}
    for conv in list(graph.node):
        pad = pads.get(conv.input[0]) if conv.op_type == "Conv" else None
        if pad is None:
            continue
        _, _, top, left, _, _, bottom, right = numpy_helper.to_array(
            constants[pad.input[1]].attribute[0].t
        ).tolist()
        (own,) = (a for a in conv.attribute if a.name == "pads")
        own.ints[:] = [a + b for a, b in zip(own.ints, (top, left, bottom, right), strict=True)]
        conv.input[0] = pad.input[0]
        graph.node.remove(constants[pad.input[1]])
        graph.node.remove(pad)


def _write_float(graph: DeployGraph, scheme: Scheme) -> Files:
    return export_onnx(graph)


def _write_int8(plan: QuantizationPlan, picture: Pixels) -> Files:
    from edgetl.workstation.export.formats.onnx_qdq import quantize_onnx

    return quantize_onnx(export_onnx(plan.fake_quantized()), plan.constraints)


def _operators(files: Files) -> Iterator[Operator]:
    """Yield the operators of the graph that ONNX Runtime optimises the file to on this machine."""
    import onnx
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        ort.InferenceSession(files[0], options, providers=["CPUExecutionProvider"])
        optimized = onnx.load_model(options.optimized_model_filepath)
    macs = _macs(onnx.load_model_from_string(files[0]))
    integers = {optimized.graph.input[0].name}  # names of integer tensors
    for node in optimized.graph.node:
        is_int = node.op_type.startswith("QLinear") or node.op_type in ("QGemm", "QuantizeLinear")
        keeps_type = node.op_type not in ("DequantizeLinear", "Cast") and node.input[:1]
        if is_int or (keeps_type and node.input[0] in integers):
            integers.update(node.output)
        if node.op_type not in _MOVES:
            yield Operator(node.op_type, node.output[0] not in integers, macs.get(node.name, 0))


def _macs(model: onnx.ModelProto) -> dict[str, int]:
    """Return each layer's multiply-accumulates by node name, which ONNX Runtime preserves."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.output)
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in inferred.initializer}
    return {
        node.name: layer_macs(shapes[node.input[1]], shapes[node.output[0]][2:])
        for node in inferred.node
        if node.op_type in _WEIGHTED
    }


SPEC = FormatSpec(
    name="onnx",
    suffixes=("onnx",),
    schemes=("fp32", "int8"),
    engine="onnxruntime",
    libraries=("onnx", "onnxruntime"),
    write_float=_write_float,
    write_int8=_write_int8,
    operators=_operators,
)
