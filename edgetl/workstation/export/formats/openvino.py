"""The OpenVINO format (its intermediate representation), measured with OpenVINO."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.bundle.manifest import Scheme
from edgetl.runtime.engines.spec import Files
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.export.formats.onnx import export_onnx
from edgetl.workstation.export.formats.spec import FormatSpec, Operator, layer_macs

if TYPE_CHECKING:
    from edgetl.workstation.export.graph.deploy import DeployGraph
    from edgetl.workstation.export.int8.plan import QuantizationPlan

_WEIGHTED = {"Convolution", "FullyConnected", "MatMul"}
# Operators that only convert, move or rearrange values.
_MOVES = {"Const", "Input", "Output", "Reorder", "Reshape", "Transpose", "Convert"}


def export_openvino(graph: DeployGraph, *, fp16: bool = False) -> Files:
    """Return `(xml, bin)`: OpenVINO IR, uint8 [1, H, W, 3] -> float32 [1, C].

    With `fp16` the weights are stored in half precision; the device chooses the precision of the
    arithmetic. The model is converted from ONNX: OpenVINO reads that ten times as fast as it
    traces a torch model.
    """
    return openvino_from_onnx(export_onnx(graph), fp16=fp16)


def openvino_from_onnx(onnx_files: Files, *, fp16: bool = False) -> Files:
    """Convert ONNX `(model,)` to `(xml, bin)`; integer weights and quantize nodes are preserved."""
    from edgetl.runtime.engines.openvino_bindings import ov

    model = ov.Core().read_model(onnx_files[0])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        ov.save_model(model, path, compress_to_fp16=fp16)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def _write_float(graph: DeployGraph, scheme: Scheme) -> Files:
    return export_openvino(graph, fp16=scheme == "fp16")


def _write_int8(plan: QuantizationPlan, picture: Pixels) -> Files:
    from edgetl.workstation.export.formats.onnx_qdq import quantize_onnx

    fake_quantized = export_onnx(plan.fake_quantized())
    return openvino_from_onnx(quantize_onnx(fake_quantized, plan.constraints, for_openvino=True))


def _operators(files: Files) -> Iterator[Operator]:
    """Yield the operators of the graph that OpenVINO's CPU plugin compiles on this machine."""
    from edgetl.runtime.engines.openvino_bindings import ov

    core = ov.Core()
    model = core.read_model(model=files[0], weights=files[1])
    macs: dict[str, int] = {}
    for operator in model.get_ordered_ops():
        if operator.get_type_name() in ("Convolution", "GroupConvolution", "MatMul"):
            weights = list(operator.input_value(1).get_shape())
            if operator.get_type_name() == "GroupConvolution":  # [groups, out, in, ...]
                weights = [weights[0] * weights[1], *weights[2:]]
            places = list(operator.output(0).get_shape())[2:]
            macs[operator.get_friendly_name()] = layer_macs(weights, places)
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for operator in compiled.get_runtime_model().get_ordered_ops():
        facts = operator.get_rt_info()
        kind, precision, names = (
            facts[key].astype(str)
            for key in ("layerType", "runtimePrecision", "originalLayersNames")
        )
        if kind not in _MOVES:
            layer = max((macs.get(name, 0) for name in names.split(",")), default=0)
            in_float = precision not in ("u8", "i8")
            yield Operator(kind, in_float, layer if kind in _WEIGHTED else 0)


SPEC = FormatSpec(
    name="openvino",
    suffixes=("xml", "bin"),
    schemes=("fp32", "fp16", "int8"),
    engine="openvino",
    libraries=("onnx", "openvino"),
    write_float=_write_float,
    write_int8=_write_int8,
    operators=_operators,
)
