"""Static int8 for TFLite, by the AI Edge quantizer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import qtyping, quantizer
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from numpy.typing import NDArray

from edgetl.core.console import quiet
from edgetl.quantize.calibration import batches
from edgetl.quantize.ranges import RangeObserver

Pixels = NDArray[np.uint8]
Ranges = dict[str, tuple[float, float]]
_Operation = qtyping.TFLOperationName
_WEIGHTED = (
    schema.BuiltinOperator.CONV_2D,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D,
    schema.BuiltinOperator.FULLY_CONNECTED,
)


def quantize_tflite(
    float_files: tuple[bytes, ...], calibration: Sequence[Pixels]
) -> tuple[bytes, ...]:
    """Return `(flatbuffer,)` in int8: int8 weights per channel, int8 activations.

    Input and output stay uint8 [1, H, W, 3] and float32 [1, C]. The ranges are `RangeObserver`'s,
    not the tool's own, and channels without weights are mended first: see `_mend_dead_channels`.

    Args:
        float_files: what `export_tflite` returned in float32.
        calibration: uint8 [H, W, 3] pictures, exactly as the runtime would feed them.

    Raises:
        EdgetlError: there is no picture, or one is not of the model's shape.
    """
    flatbuffer = bytearray(float_files[0])
    ranges = _observe(bytes(flatbuffer), calibration)
    _mend_dead_channels(flatbuffer, ranges)
    tool = quantizer.Quantizer(flatbuffer)
    tool.add_static_config(".*", _Operation.ALL_SUPPORTED, 8, 8)
    for name in _Operation.OUTPUT, _Operation.INPUT:
        tool.update_quantization_recipe(".*", name, None, AlgorithmName.NO_QUANTIZE)
    for name, scope in _normalisation(flatbuffer):
        tool.update_quantization_recipe(scope, name, None, AlgorithmName.NO_QUANTIZE)
    statistics = {
        name: {"min": np.array([[low]]), "max": np.array([[high]])}
        for name, (low, high) in ranges.items()
    }
    with quiet():
        result = tool.quantize(statistics, enable_progress_bar=False, enable_progress_report=False)
    return (bytes(result.quantized_model),)


def _observe(flatbuffer: bytes, calibration: Sequence[Pixels]) -> Ranges:
    """Run the float model over the pictures; return the ranges of its float tensors."""
    with quiet():  # it warns that keeping all tensors takes memory
        interpreter = Interpreter(
            model_content=flatbuffer, num_threads=2, experimental_preserve_all_tensors=True
        )
    entry, exit_ = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    pictures = batches(calibration, entry["shape"])
    interpreter.allocate_tensors()
    outputs = {i for operator in interpreter._get_ops_details() for i in operator["outputs"]}
    floats = [
        tensor
        for tensor in interpreter.get_tensor_details()
        if tensor["dtype"] == np.float32 and tensor["name"] and tensor["index"] in outputs
    ]
    observer = RangeObserver()
    for picture in pictures:
        interpreter.set_tensor(entry["index"], picture)
        interpreter.invoke()
        for tensor in floats:
            observer.see(tensor["name"], interpreter.get_tensor(tensor["index"]))
    return observer.ranges() | {exit_["name"]: observer.widest(exit_["name"])}


def _normalisation(flatbuffer: bytearray) -> list[tuple[qtyping.TFLOperationName, str]]:
    """The multiply and add that normalise the pixels, each with a pattern of its tensors' names.

    They stay float: their int8 versions would round the picture three times in a row.
    """
    names = {
        schema.BuiltinOperator.MUL: _Operation.MUL,
        schema.BuiltinOperator.ADD: _Operation.ADD,
    }
    model = schema.Model.GetRootAs(flatbuffer, 0)
    graph = model.Subgraphs(0)
    found = []
    for index in range(1, 3):  # operator 0 casts the pixels to float
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
        output = graph.Tensors(operator.Outputs(0)).Name().decode()
        if code in names:
            found.append((names[code], re.escape(output) + ";?$"))
    return found


def _mend_dead_channels(flatbuffer: bytearray, ranges: Ranges) -> None:
    """Give channels that have a bias but (nearly) no weights a weight too small to matter.

    A bias is stored as int32 in steps of input scale x weight scale. Training often leaves channels
    with weights around 1e-8: the bias then overflows, and the tool silently writes its negative.
    Here the largest weight is raised until the bias takes 30 bits, a change of at most
    255 * 127 / 2**30 of the bias. Without it EfficientNet-Lite0 and the like lose several points.
    """
    model = schema.Model.GetRootAs(flatbuffer, 0)
    graph = model.Subgraphs(0)
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
        if code not in _WEIGHTED or operator.InputsLength() < 3 or operator.Inputs(2) < 0:
            continue
        source, weights, bias = (graph.Tensors(operator.Inputs(i)) for i in range(3))
        low, high = ranges[source.Name().decode()]
        step = max((high - low) / 255, 1e-9)
        values = _data(model, weights)
        by_channel = (
            values.reshape(-1, values.shape[-1])
            if code == schema.BuiltinOperator.DEPTHWISE_CONV_2D
            else values.reshape(len(values), -1).T
        )
        needed = np.abs(_data(model, bias)) * 127 / (step * 2**30)
        dead = np.abs(by_channel).max(axis=0) < needed
        by_channel[0, dead] = needed[dead]


def _data(model: Any, tensor: Any) -> NDArray[np.float32]:
    """A constant tensor as a view on the flatbuffer's own bytes, so that writing changes them."""
    raw: NDArray[np.uint8] = model.Buffers(tensor.Buffer()).DataAsNumpy()
    return raw.view(np.float32).reshape(tensor.ShapeAsNumpy())
