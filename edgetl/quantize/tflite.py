"""Static int8 for TFLite, by the AI Edge quantizer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import qtyping, quantizer
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from numpy.typing import NDArray
from torch import fx

from edgetl.core.quiet import quiet
from edgetl.quantize.graph import Pixels, Watched, stacked
from edgetl.quantize.needs import FULL_STEPS
from edgetl.quantize.plan import Plan
from edgetl.quantize.ranges import Grid

Files = tuple[bytes, ...]
Grids = dict[str, Grid]
_Operation = qtyping.TFLOperationName
# Float kernels of two runtimes differ by less, tensors of a network by more.
_SAME = 1e-3
_LEAST = -1e30
_WEIGHTED = (
    schema.BuiltinOperator.CONV_2D,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D,
    schema.BuiltinOperator.FULLY_CONNECTED,
)


def quantize_tflite(float_files: tuple[bytes, ...], plan: Plan, picture: Pixels) -> Files:
    """Return `(flatbuffer,)` in int8: int8 weights per channel, int8 activations.

    Input and output stay uint8 [1, H, W, 3] and float32 [1, C]. The grids are the plan's, and
    channels without weights are mended first: see `_mend_dead_channels`.

    Args:
        float_files: what `export_tflite` made of `plan.graph`.
        plan: what to round, and how.
        picture: uint8 [H, W, 3], by which the file's tensors are told apart.
    """
    flatbuffer = bytearray(float_files[0])
    operators = _run(flatbuffer, picture)
    grids = _grids_by_tensor(operators, plan, picture)
    layers = list(_layers(flatbuffer))
    _mend_dead_channels(layers, grids)
    tool = quantizer.Quantizer(flatbuffer)
    tool.add_static_config(".*", _Operation.ALL_SUPPORTED, 8, 8)
    for name in _Operation.OUTPUT, _Operation.INPUT:
        tool.update_quantization_recipe(".*", name, None, AlgorithmName.NO_QUANTIZE)
    for name, scope in _float_operators(operators, grids):
        tool.update_quantization_recipe(scope, name, None, AlgorithmName.NO_QUANTIZE)
    statistics = {
        name: {"min": np.array([[grid.low]]), "max": np.array([[grid.high]])}
        for name, grid in grids.items()
    }
    statistics |= {layer.name: layer.covered(plan.needs.weight_steps) for layer in layers}
    with quiet():
        result = tool.quantize(statistics, enable_progress_bar=False, enable_progress_report=False)
    return (bytes(result.quantized_model),)


class _Operator(NamedTuple):
    """An operator of the float file, with the float tensors that it read and answered."""

    kind: str
    reads: dict[str, NDArray[np.float32]]
    answers: dict[str, NDArray[np.float32]]


def _run(flatbuffer: bytearray, picture: Pixels) -> list[_Operator]:
    """Every operator in order, with what it computed of a picture."""
    with quiet():  # it warns that keeping all tensors takes memory
        interpreter = Interpreter(
            model_content=bytes(flatbuffer), experimental_preserve_all_tensors=True
        )
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture[np.newaxis])
        interpreter.invoke()
    details = interpreter._get_ops_details()
    made = {index for operator in details for index in operator["outputs"]}
    tensors = {
        tensor["index"]: (tensor["name"], interpreter.get_tensor(tensor["index"]).copy())
        for tensor in interpreter.get_tensor_details()
        if tensor["dtype"] == np.float32 and tensor["name"] and tensor["index"] in made
    }

    def named(indices: Iterable[int]) -> dict[str, NDArray[np.float32]]:
        return dict(tensors[index] for index in indices if index in tensors)

    return [_Operator(o["op_name"], named(o["inputs"]), named(o["outputs"])) for o in details]


def _grids_by_tensor(operators: list[_Operator], plan: Plan, picture: Pixels) -> Grids:
    """The plan's grids by the names of the file's tensors.

    The converter names tensors as it likes and changes their layout, but not their values: a tensor
    is the node that answers the same picture with the same numbers. One that only holds values of
    the tensor before it, such as padding, has that one's grid. The converter writes a hard sigmoid
    as a sixth of ReLU6, and where it can moves what is done to the pixels into the first layer.
    """
    known = _answers(plan, picture)
    pixels = _Values(picture.size, _statistics(picture.astype(np.float32)))
    found: Grids = {}
    for operator in operators:
        for name, values in operator.answers.items():
            if node := _closest(values, known):
                found[name] = plan.grids[node]
            elif node := _closest(values / np.float32(6), known):
                grid = plan.grids[node]
                found[name] = Grid(6 * grid.scale, grid.zero)
            elif _closest(values, {"pixels": pixels}):
                found[name] = Grid(1.0, 0)
            else:
                moved = [s for s, read in operator.reads.items() if _moves(values, read)]
                if moved and moved[0] in found:
                    found[name] = found[moved[0]]
    return found


def _moves(values: NDArray[np.float32], read: NDArray[np.float32]) -> bool:
    """Whether these are values that were read, zeros, or what pads a pooling by the maximum."""
    told = values[(values != 0) & (values > _LEAST)]
    return bool(np.isin(told, read).all())


class _Values(NamedTuple):
    """How many values a tensor has, and what of them does not depend on their order."""

    size: int
    statistics: NDArray[np.float64]


def _answers(plan: Plan, picture: Pixels) -> dict[str, _Values]:
    """What each rounded node answers a picture with."""
    known: dict[str, _Values] = {}

    def see(node: fx.Node, value: Any) -> Any:
        if node.name in plan.grids:
            known[node.name] = _Values(value.numel(), _statistics(value.numpy()))
        return value

    with torch.inference_mode():
        inputs = plan.graph.normalised(stacked([picture]))
        Watched(plan.graph.backbone, see).run(inputs)
    return known


def _statistics(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """As in `_Values`."""
    flat = values.astype(np.float64).ravel()
    return np.array(
        [flat.mean(), np.abs(flat).mean(), np.sqrt((flat**2).mean()), flat.min(), flat.max()]
    )


def _closest(values: NDArray[np.float32], known: dict[str, _Values]) -> str | None:
    seen = _statistics(values)
    distances = {
        name: float(np.abs(statistics - seen).max() / max(np.abs(statistics).max(), 1e-9))
        for name, (size, statistics) in known.items()
        if size == values.size
    }
    best = min(distances, key=distances.__getitem__, default=None)
    return best if best is not None and distances[best] < _SAME else None


def _float_operators(
    operators: list[_Operator], grids: Grids
) -> Iterator[tuple[qtyping.TFLOperationName, str]]:
    """Operators that read or answer what the plan does not round, each with a pattern of its name.

    Among them are those that make the backbone's input of the pixels, and the parts that the
    converter writes a hard sigmoid as.
    """
    for operator in operators:
        rounded = all(name in grids for name in (*operator.reads, *operator.answers))
        if not rounded and operator.kind in _Operation.__members__:
            scope = "".join(f"{re.escape(name)};" for name in operator.answers)
            yield _Operation[operator.kind], f"^{scope}$"


class _Layer(NamedTuple):
    """A layer of the float file; its numbers are views on the file's bytes, to be written to.

    Attributes:
        name: that of the weights' tensor.
        source: that of the tensor which the layer reads.
        weights: float32, its channels along `axis`.
        bias: float32 [channels], where there is one.
    """

    name: str
    source: str
    weights: NDArray[np.float32]
    axis: int
    bias: NDArray[np.float32] | None

    def largest(self) -> NDArray[np.float32]:
        """Each channel's largest weight but for its sign, in the weights' dimensions."""
        others = tuple(i for i in range(self.weights.ndim) if i != self.axis)
        largest: NDArray[np.float32] = np.abs(self.weights).max(axis=others, keepdims=True)
        return largest

    def covered(self, steps: int) -> dict[str, NDArray[np.float32]]:
        """The range whose 127th step makes a channel's largest weight that of `steps`."""
        reach = self.largest() * np.float32(FULL_STEPS / steps)
        return {"min": -reach, "max": reach}


def _layers(flatbuffer: bytearray) -> Iterator[_Layer]:
    """The layers with weights, in order."""
    model = schema.Model.GetRootAs(flatbuffer, 0)
    graph = model.Subgraphs(0)
    for operator in map(graph.Operators, range(graph.OperatorsLength())):
        code = model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
        if code not in _WEIGHTED:
            continue
        inputs = operator.InputsAsNumpy()
        source, tensor = (graph.Tensors(index) for index in inputs[:2])
        weights = _data(model, tensor)
        axis = weights.ndim - 1 if code == schema.BuiltinOperator.DEPTHWISE_CONV_2D else 0
        has_bias = len(inputs) > 2 and inputs[2] >= 0
        bias = _data(model, graph.Tensors(inputs[2])) if has_bias else None
        yield _Layer(tensor.Name().decode(), source.Name().decode(), weights, axis, bias)


def _data(model: Any, tensor: Any) -> NDArray[np.float32]:
    """A constant tensor as a view on the flatbuffer's own bytes, so that writing changes them."""
    raw: NDArray[np.uint8] = model.Buffers(tensor.Buffer()).DataAsNumpy()
    return raw.view(np.float32).reshape(tensor.ShapeAsNumpy())


def _mend_dead_channels(layers: Iterable[_Layer], grids: Grids) -> None:
    """Give channels that have a bias but (nearly) no weights a weight too small to matter.

    A bias is stored as int32 in steps of input scale x weight scale. Training often leaves channels
    with weights around 1e-8: the bias then overflows, and the tool silently writes its negative.
    Here the largest weight is raised until the bias takes 30 bits, a change of at most
    255 * 127 / 2**30 of the bias. Without it EfficientNet-Lite0 and the like lose several points.
    """
    for layer in layers:
        grid = grids.get(layer.source)
        if grid is None or layer.bias is None:
            continue
        needed = np.abs(layer.bias) * FULL_STEPS / (grid.scale * 2**30)
        dead = layer.largest().ravel() < needed
        first_weights = np.moveaxis(layer.weights, layer.axis, -1)[(0,) * (layer.weights.ndim - 1)]
        first_weights[dead] = needed[dead]
