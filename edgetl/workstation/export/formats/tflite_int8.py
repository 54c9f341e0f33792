"""Converts a float TFLite file to static int8 with the AI Edge quantizer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import qtyping, quantizer
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from numpy.typing import NDArray

from edgetl.core.quiet import quiet
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.export.formats.tflite_tensors import (
    ParamsByTensor,
    TfliteOperator,
    match_tensors,
    run_float_file,
)
from edgetl.workstation.export.int8.constraints import FULL_STEPS
from edgetl.workstation.export.int8.plan import QuantizationPlan

Files = tuple[bytes, ...]
_Operation = qtyping.TFLOperationName
_WEIGHTED = (
    schema.BuiltinOperator.CONV_2D,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D,
    schema.BuiltinOperator.FULLY_CONNECTED,
)


def quantize_tflite(
    float_files: tuple[bytes, ...], plan: QuantizationPlan, picture: Pixels
) -> Files:
    """Return `(flatbuffer,)` in int8: int8 weights per channel, int8 activations.

    Input and output stay uint8 [1, H, W, 3] and float32 [1, C]. The quantization parameters are the
    plan's. Channels whose weights are nearly 0 are corrected first: see `_mend_dead_channels`.

    Args:
        float_files: the files that `export_tflite` makes of `plan.graph`.
        plan: which tensors to round, and with which parameters.
        picture: uint8 [H, W, 3]; the file's tensors are matched with the plan's nodes by their
            values for it.
    """
    flatbuffer = bytearray(float_files[0])
    operators = run_float_file(flatbuffer, picture)
    params = match_tensors(operators, plan, picture)
    layers = list(_layers(flatbuffer))
    _mend_dead_channels(layers, params)
    tool = quantizer.Quantizer(flatbuffer)
    tool.add_static_config(".*", _Operation.ALL_SUPPORTED, 8, 8)
    for name in _Operation.OUTPUT, _Operation.INPUT:
        tool.update_quantization_recipe(".*", name, None, AlgorithmName.NO_QUANTIZE)
    for name, scope in _float_operators(operators, params):
        tool.update_quantization_recipe(scope, name, None, AlgorithmName.NO_QUANTIZE)
    statistics = {
        name: {"min": np.array([[own.low]]), "max": np.array([[own.high]])}
        for name, own in params.items()
    }
    statistics |= {layer.name: layer.covered(plan.constraints.weight_steps) for layer in layers}
    with quiet():
        result = tool.quantize(statistics, enable_progress_bar=False, enable_progress_report=False)
    return (bytes(result.quantized_model),)


def _float_operators(
    operators: list[TfliteOperator], params: ParamsByTensor
) -> Iterator[tuple[qtyping.TFLOperationName, str]]:
    """Yield the operators that stay float, each with a regular expression of its name.

    An operator stays float if one of its tensors is not rounded. Among them are those that
    normalise the pixels, and the operators that the converter splits a hard sigmoid into.
    """
    for operator in operators:
        rounded = all(name in params for name in (*operator.inputs, *operator.outputs))
        if not rounded and operator.kind in _Operation.__members__:
            scope = "".join(f"{re.escape(name)};" for name in operator.outputs)
            yield _Operation[operator.kind], f"^{scope}$"


class _Layer(NamedTuple):
    """A layer of the float file; its arrays are views on the file's bytes that can be written to.

    Attributes:
        name: name of the weights' tensor.
        source: name of the layer's input tensor.
        weights: float32, with output channels along `axis`.
        axis: the dimension of the output channels.
        bias: float32 [channels], None if the layer has none.
    """

    name: str
    source: str
    weights: NDArray[np.float32]
    axis: int
    bias: NDArray[np.float32] | None

    def largest(self) -> NDArray[np.float32]:
        """Return each channel's largest absolute weight, in the weights' number of dimensions."""
        others = tuple(i for i in range(self.weights.ndim) if i != self.axis)
        largest: NDArray[np.float32] = np.abs(self.weights).max(axis=others, keepdims=True)
        return largest

    def covered(self, steps: int) -> dict[str, NDArray[np.float32]]:
        """Return each channel's range whose 127 steps put its largest weight on step `steps`."""
        reach = self.largest() * np.float32(FULL_STEPS / steps)
        return {"min": -reach, "max": reach}


def _layers(flatbuffer: bytearray) -> Iterator[_Layer]:
    """Yield the convolution and fully connected layers, in order."""
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
    """Return a constant tensor as a view on the flatbuffer: writing to it changes the file."""
    raw: NDArray[np.uint8] = model.Buffers(tensor.Buffer()).DataAsNumpy()
    return raw.view(np.float32).reshape(tensor.ShapeAsNumpy())


def _mend_dead_channels(layers: Iterable[_Layer], params: ParamsByTensor) -> None:
    """Raise a weight of channels with a bias but nearly zero weights, by too little to matter.

    A bias is stored as int32 in steps of input scale x weight scale. Training often leaves channels
    with weights around 1e-8: the bias then overflows, and the quantizer silently writes a value of
    the opposite sign. Here one weight is raised until the bias takes 30 bits, which changes the
    channel's output by at most 255 * 127 / 2**30 of the bias. Without this EfficientNet-Lite0 and
    similar networks lose several points of top-1.
    """
    for layer in layers:
        source = params.get(layer.source)
        if source is None or layer.bias is None:
            continue
        needed = np.abs(layer.bias) * FULL_STEPS / (source.scale * 2**30)
        dead = layer.largest().ravel() < needed
        first_weights = np.moveaxis(layer.weights, layer.axis, -1)[(0,) * (layer.weights.ndim - 1)]
        first_weights[dead] = needed[dead]
