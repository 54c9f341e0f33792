"""Converts the ONNX file of a fake-quantized network to int8, with integer weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgetl.workstation.export.int8.constraints import NO_CONSTRAINTS, QuantizationConstraints
from edgetl.workstation.export.int8.ranges import SYMMETRIC_ZERO

Floats = NDArray[np.float32]
# Biases are int32: two bits stay free, so that adding a layer's products does not overflow.
_LARGEST_BIAS = 2**30


def quantize_onnx(
    fake_quantized: tuple[bytes, ...],
    constraints: QuantizationConstraints = NO_CONSTRAINTS,
    *,
    for_openvino: bool = False,
) -> tuple[bytes, ...]:
    """Return `(model,)` in int8: QDQ, uint8 activations, int8 weights per channel, int32 biases.

    Input and output stay uint8 [1, H, W, 3] and float32 [1, C]. Uint8 activations with int8 weights
    give the same results on ARM as on x86. A layer whose input is not rounded stays float.

    Args:
        fake_quantized: the ONNX file of `QuantizationPlan.fake_quantized()`.
        constraints: the plan's. If symmetric and not for OpenVINO, the file is as TensorRT
            requires: int8 activations with zero point 0, and biases and the rounding of the pixels
            as for OpenVINO.
        for_openvino: write the variant that OpenVINO runs best: biases are float, and the
            pixels' QuantizeLinear stays in the graph, without which OpenVINO computes the first
            layer in float. For ONNX Runtime the first layer reads the uint8 pixels directly.
    """
    signed = constraints.symmetric and not for_openvino
    plain = not (for_openvino or signed)
    model = onnx.load_model_from_string(fake_quantized[0])
    constants = _Constants(model.graph)
    dequantizers = {n.output[0]: n for n in model.graph.node if n.op_type == "DequantizeLinear"}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm") and node.input[0] in dequantizers:
            step = float(constants.value(dequantizers[node.input[0]].input[1]))
            nodes.append(_store_weights(node, step, constraints.weight_steps, constants))
            if len(node.input) > 2 and plain:
                nodes.append(_store_bias(node, step, constants))
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    if plain:
        _drop_pixel_arithmetic(model.graph, constants)
    if signed:
        _sign_activations(model.graph, constants)
    _drop_unused(model.graph)
    onnx.checker.check_model(model)
    return (model.SerializeToString(),)


class _Constants:
    """A graph's constants by name: initializers, and outputs of Constant nodes."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                self._tensors[node.output[0]] = node.attribute[0].t
            elif node.op_type == "Identity" and node.input[0] in self._tensors:
                self._tensors[node.output[0]] = self._tensors[node.input[0]]  # an equal constant

    def value(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = numpy_helper.to_array(self._tensors[name])
        return array

    def add(self, name: str, values: NDArray[np.generic]) -> str:
        self._tensors[name] = numpy_helper.from_array(values, name)
        self._graph.initializer.append(self._tensors[name])
        return name


def _store_weights(
    node: onnx.NodeProto, input_step: float, most: int, constants: _Constants
) -> onnx.NodeProto:
    """Store a layer's weights as int8 in -most..most; return the node that dequantizes them."""
    weights = np.asarray(constants.value(node.input[1]), np.float32)
    steps = _weight_steps(node, input_step, most, constants)
    by_channel = steps.reshape(-1, *[1] * (weights.ndim - 1))
    whole = np.rint(weights / by_channel).clip(-most, most).astype(np.int8)
    return _dequantized(node, 1, whole, steps, constants)


def _store_bias(node: onnx.NodeProto, input_step: float, constants: _Constants) -> onnx.NodeProto:
    """Store a layer's bias as int32, after its weights; return the node that dequantizes it."""
    steps = constants.value(f"{node.name}/weight_steps") * np.float32(input_step)
    whole = np.rint(constants.value(node.input[2]) / steps).astype(np.int32)
    return _dequantized(node, 2, whole, steps, constants)


def _weight_steps(
    node: onnx.NodeProto, input_step: float, most: int, constants: _Constants
) -> Floats:
    """Return the weight scale of each output channel, float32 [out]."""
    weights = np.asarray(constants.value(node.input[1]), np.float32)
    steps = (np.abs(weights).reshape(len(weights), -1).max(axis=1) / most).clip(1e-30)
    if len(node.input) > 2:
        # A channel whose weights are (nearly) 0 gets a step large enough for its bias to fit.
        bias = np.asarray(constants.value(node.input[2]), np.float32)
        steps = np.maximum(steps, np.abs(bias) / (input_step * _LARGEST_BIAS))
    narrow: Floats = steps.astype(np.float32)
    return narrow


def _dequantized(
    node: onnx.NodeProto,
    port: int,
    whole: NDArray[np.generic],
    steps: Floats,
    constants: _Constants,
) -> onnx.NodeProto:
    name = f"{node.name}/{'weight' if port == 1 else 'bias'}"
    inputs = [
        constants.add(f"{name}_{whole.dtype}", whole),
        constants.add(f"{name}_steps", steps),
        constants.add(f"{name}_zeros", np.zeros(len(steps), whole.dtype)),
    ]
    node.input[port] = f"{name}_dequantized"
    return helper.make_node(
        "DequantizeLinear", inputs, [node.input[port]], name=node.input[port], axis=0
    )


def _drop_pixel_arithmetic(graph: onnx.GraphProto, constants: _Constants) -> None:
    """Remove the arithmetic between the pixels and their rounding if the two cancel out.

    If a network reads (pixel - zero) * step, quantized with that same zero and step, the quantized
    values are the uint8 pixels themselves.
    """
    made_by = {output: node for node in graph.node for output in node.output}
    rounding = next((node for node in graph.node if node.op_type == "QuantizeLinear"), None)
    if rounding is None:
        return
    chain = [made_by[rounding.input[0]]]
    while chain[-1].op_type in ("Mul", "Sub", "Cast"):
        chain.append(made_by[chain[-1].input[0]])
    if [node.op_type for node in chain] != ["Mul", "Sub", "Cast", "Transpose"]:
        return
    step, zero = (constants.value(node.input[1]) for node in chain[:2])
    if (step, zero) != (constants.value(rounding.input[1]), constants.value(rounding.input[2])):
        return
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] == rounding.output[0]:
            node.input[0] = chain[-1].output[0]
    for node in (rounding, *chain[:-1]):
        graph.node.remove(node)


def _sign_activations(graph: onnx.GraphProto, constants: _Constants) -> None:
    """Change activations from uint8 with zero point 128 to int8 with zero point 0."""
    middle = constants.add("middle", np.zeros((), np.int8))
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        zero = constants.value(node.input[2])
        if zero.dtype == np.uint8:
            assert int(zero) == SYMMETRIC_ZERO
            node.input[2] = middle


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove constants that no node reads; ONNX Runtime warns about each when it loads a file."""
    read = {name for node in graph.node for name in node.input}
    for node in list(graph.node):
        if node.op_type == "Constant" and node.output[0] not in read:
            graph.node.remove(node)
    for tensor in list(graph.initializer):
        if tensor.name not in read:
            graph.initializer.remove(tensor)
