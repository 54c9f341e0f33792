"""Matches each tensor of a float TFLite file with a node of the planned network.

The converter chooses its own tensor names and layouts, but does not change the values: a tensor
matches the node whose output for the same picture has the same numbers in any order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from torch import fx

from edgetl.core.errors import EdgetlError
from edgetl.core.quiet import quiet
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.export.formats.tflite import WEIGHTED
from edgetl.workstation.export.graph.nodes import NodeObserver, stacked
from edgetl.workstation.export.int8.plan import QuantizationPlan
from edgetl.workstation.export.int8.ranges import QuantParams

ParamsByTensor = dict[str, QuantParams]
# Relative difference of statistics. The same tensor in two runtimes differs by less, two tensors
# of a network differ by more.
_SAME = 1e-3
_LEAST = -1e30
# The only output that TFLite's int8 sigmoid has (its "8-bit quantization specification").
_SIGMOID = QuantParams(1 / 256, 0)


class TfliteOperator(NamedTuple):
    """An operator of the float file, with the values of its float inputs and outputs, by name."""

    kind: str
    inputs: dict[str, NDArray[np.float32]]
    outputs: dict[str, NDArray[np.float32]]


def run_float_file(flatbuffer: bytearray, picture: Pixels) -> list[TfliteOperator]:
    """Run a float file on a picture, uint8 [H, W, 3], and return its operators with tensors."""
    with quiet():  # the interpreter warns that preserving all tensors takes memory
        interpreter = Interpreter(
            model_content=bytes(flatbuffer), experimental_preserve_all_tensors=True
        )
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture[np.newaxis])
        interpreter.invoke()
    details = interpreter._get_ops_details()
    written = {index for operator in details for index in operator["outputs"]}
    tensors = {
        tensor["index"]: (tensor["name"], interpreter.get_tensor(tensor["index"]).copy())
        for tensor in interpreter.get_tensor_details()
        if tensor["dtype"] == np.float32 and tensor["name"] and tensor["index"] in written
    }

    def named(indices: Iterable[int]) -> dict[str, NDArray[np.float32]]:
        return dict(tensors[index] for index in indices if index in tensors)

    # XNNPACK's delegate is listed beside the file's own operators, which it runs.
    return [
        TfliteOperator(operator["op_name"], named(operator["inputs"]), named(operator["outputs"]))
        for operator in details
        if operator["op_name"] != "DELEGATE"
    ]


def match_tensors(
    operators: list[TfliteOperator], plan: QuantizationPlan, picture: Pixels
) -> ParamsByTensor:
    """Return the plan's quantization parameters by the names of the file's tensors.

    A tensor with only values of an input of its operator, such as padding, has the input's
    parameters. The converter writes a hard sigmoid as ReLU6 / 6, so a tensor of six times a node's
    values has that node's parameters with six times the scale. It writes SiLU as the product of a
    tensor and its sigmoid, which no node of the network answers.

    Tensors without parameters stay float: those that the plan leaves in float, and those that match
    no node, such as the product inside a batch norm without a convolution before it.

    Raises EdgetlError if the output of a layer with weights matches no node: nearly all of the
    work would then be done in float.
    """
    nodes = _node_values(plan, picture)
    rounded = {name: values for name, values in nodes.items() if name in plan.params}
    pixels, floats = _pixel_values(plan, picture)
    matched: ParamsByTensor = {}
    for operator in operators:
        for name, values in operator.outputs.items():
            if node := _closest(values, rounded):
                matched[name] = plan.params[node]
            elif node := _closest(values / np.float32(6), rounded):
                own = plan.params[node]
                matched[name] = QuantParams(6 * own.scale, own.zero)
            elif _closest(values, pixels):
                matched[name] = QuantParams(1.0, 0)
            elif moved := [s for s, read in operator.inputs.items() if _moves(values, read)]:
                if moved[0] in matched:
                    matched[name] = matched[moved[0]]
            elif operator.kind == "LOGISTIC" and not _closest(values, nodes):
                matched[name] = _SIGMOID
            elif operator.kind in WEIGHTED and not _closest(values, nodes | floats):
                raise EdgetlError(
                    f"Tensor '{name}' of the TFLite file ({operator.kind}) is no node of the "
                    "network, so its int8 range is not known.",
                    hint="export the other formats, --format onnx,openvino, and report this "
                    "backbone.",
                )
    return matched


def _moves(values: NDArray[np.float32], read: NDArray[np.float32]) -> bool:
    """Whether all values are from `read`, zero, or the padding of a max pool."""
    informative = values[(values != 0) & (values > _LEAST)]
    return bool(np.isin(informative, read).all())


class _Values(NamedTuple):
    """The number of a tensor's values, and statistics that do not depend on their order."""

    size: int
    statistics: NDArray[np.float64]


def _describe(values: NDArray[Any]) -> _Values:
    flat = values.astype(np.float64).ravel()
    statistics = [
        flat.mean(),
        np.abs(flat).mean(),
        np.sqrt((flat**2).mean()),
        flat.min(),
        flat.max(),
    ]
    return _Values(values.size, np.array(statistics))


def _node_values(plan: QuantizationPlan, picture: Pixels) -> dict[str, _Values]:
    """Describe the output of each node of the network for a picture."""
    known: dict[str, _Values] = {}

    def see(node: fx.Node, value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            known[node.name] = _describe(value.numpy())
        return value

    with torch.inference_mode():
        NodeObserver(plan.graph.backbone, see).run(plan.graph.normalised(stacked([picture])))
    return known


def _pixel_values(
    plan: QuantizationPlan, picture: Pixels
) -> tuple[dict[str, _Values], dict[str, _Values]]:
    """Describe the pixels, and the float tensor that normalisation computes from them first.

    The network's input is (pixel - zero) * step, or pixel * scale + shift. The value between the
    two operations has no int8 range: either the converter moves the arithmetic into the first
    layer, or it stays in float.
    """
    values = picture.astype(np.float32)
    pixels = {"pixels": _describe(values)}
    if plan.graph.pixel_zero is not None:
        return pixels, {"shifted pixels": _describe(values - plan.graph.pixel_zero)}
    scale = plan.graph.scale.numpy().reshape(3)
    return pixels, {"scaled pixels": _describe(values * scale)}


def _closest(values: NDArray[np.float32], known: dict[str, _Values]) -> str | None:
    seen = _describe(values).statistics
    distances = {
        name: float(np.abs(statistics - seen).max() / max(np.abs(statistics).max(), 1e-9))
        for name, (size, statistics) in known.items()
        if size == values.size
    }
    best = min(distances, key=distances.__getitem__, default=None)
    return best if best is not None and distances[best] < _SAME else None
