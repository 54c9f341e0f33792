import copy

import numpy as np
import onnx
import openvino
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn

from edgetl.core.errors import EdgetlError
from edgetl.export.graph import DeployGraph
from edgetl.export.onnx import export_onnx
from edgetl.export.openvino import export_openvino
from edgetl.export.tflite import export_tflite
from edgetl.quantize.equalise import equalise_channels
from edgetl.quantize.onnx import quantize_onnx
from edgetl.quantize.openvino import quantize_openvino
from edgetl.quantize.ranges import RangeObserver
from edgetl.quantize.rounding import round_weights
from edgetl.quantize.tflite import quantize_tflite
from tests.export.tiny import CONVOLUTIONS, RUNNERS, SIZE, make_backbone, make_graph, make_pictures
from tests.export.tiny import torch_logits as logits_of

Files = tuple[bytes, ...]
EXPORTERS = {"onnx": export_onnx, "openvino": export_openvino, "tflite": export_tflite}
QUANTIZERS = {"onnx": quantize_onnx, "openvino": quantize_openvino, "tflite": quantize_tflite}


@pytest.fixture(scope="module")
def graph() -> DeployGraph:
    return make_graph(make_backbone())


@pytest.fixture(scope="module")
def floats(graph: DeployGraph) -> dict[str, Files]:
    rounded = round_weights(graph, list(make_pictures()), size=(SIZE, SIZE))
    return {name: export(rounded) for name, export in EXPORTERS.items()}


@pytest.fixture(scope="module")
def int8(floats: dict[str, Files]) -> dict[str, Files]:
    pictures = list(make_pictures()[:30])
    return {name: QUANTIZERS[name](files, pictures) for name, files in floats.items()}


@pytest.mark.parametrize("name", QUANTIZERS)
def test_int8_answers_nearly_as_torch_does(
    name: str, graph: DeployGraph, int8: dict[str, Files]
) -> None:
    pictures = make_pictures()
    expected = logits_of(graph, pictures)
    answers = RUNNERS[name](int8[name], pictures)
    assert (answers.argmax(1) == expected.argmax(1)).mean() >= 0.95
    assert np.abs(answers - expected).mean() < 0.05 * np.abs(expected).mean()


def test_onnx_convolutions_read_uint8_activations_and_int8_weights(int8: dict[str, Files]) -> None:
    graph = onnx.load_model_from_string(int8["onnx"][0]).graph
    made_by = {output: node for node in graph.node for output in node.output}
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == CONVOLUTIONS
    for node in convolutions:
        readers = [made_by[name] for name in node.input[:2]]
        assert [reader.op_type for reader in readers] == ["DequantizeLinear"] * 2
        assert types[readers[0].input[2]] == onnx.TensorProto.UINT8
        assert types[readers[1].input[0]] == onnx.TensorProto.INT8


def test_openvino_convolutions_read_quantized_activations(int8: dict[str, Files]) -> None:
    xml, weights = int8["openvino"]
    model = openvino.Core().read_model(model=xml, weights=weights)
    kinds = ("Convolution", "GroupConvolution")
    convolutions = [n for n in model.get_ordered_ops() if n.get_type_name() in kinds]
    assert len(convolutions) == CONVOLUTIONS
    for node in convolutions:
        assert node.input_value(0).get_node().get_type_name() == "FakeQuantize"


def test_tflite_convolutions_compute_in_int8(int8: dict[str, Files]) -> None:
    interpreter = Interpreter(model_content=int8["tflite"][0])
    types = {tensor["index"]: tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    operators = [op for op in interpreter._get_ops_details() if op["op_name"] in kinds]
    assert len(operators) == CONVOLUTIONS + 1  # and the linear layer
    for operator in operators:
        assert [types[i] for i in operator["inputs"][:2]] == [np.int8, np.int8]


def test_a_channel_without_weights_keeps_its_bias_in_tflite() -> None:
    backbone = make_backbone()
    with torch.no_grad():
        backbone.stem.weight[3] *= 1e-9
        backbone.stem.bias[3] = 5.0
    graph, pictures = make_graph(backbone), make_pictures()
    files = quantize_tflite(export_tflite(graph), list(pictures))
    expected = logits_of(graph, pictures)
    assert (
        np.abs(RUNNERS["tflite"](files, pictures) - expected).mean()
        < 0.05 * np.abs(expected).mean()
    )


def test_rounded_weights_are_whole_steps_of_their_largest(graph: DeployGraph) -> None:
    rounded = round_weights(graph, list(make_pictures()), size=(SIZE, SIZE))
    for conv in (m for m in rounded.modules() if isinstance(m, nn.Conv2d)):
        rows = conv.weight.flatten(1)
        steps = rows / (rows.abs().amax(1, keepdim=True) / 127)
        torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)


def test_equalising_fills_the_channels_and_keeps_the_function(graph: DeployGraph) -> None:
    pictures = make_pictures()
    even = copy.deepcopy(graph)
    with torch.inference_mode():
        equalise_channels(even, [picture[None] for picture in pictures])
    np.testing.assert_allclose(logits_of(even, pictures), logits_of(graph, pictures), atol=1e-4)
    expand = even.get_submodule("backbone.expand.2")
    peaks: list[torch.Tensor] = []
    expand.register_forward_hook(lambda _m, _i, output: peaks.append(output.amax((0, 2, 3))))
    logits_of(even, pictures)
    full = (peaks[0] - 6).abs() < 1e-4  # a nearly silent channel is scaled only 64-fold
    assert full.float().mean() > 0.9


def test_a_range_counts_every_channel_whatever_the_layout() -> None:
    observer = RangeObserver()
    values = np.zeros((1, 64, 64, 32), np.float32)
    values[..., 3] = np.random.default_rng(0).normal(0, 1, (64, 64))
    observer.see("x", values)
    low, high = observer.ranges()["x"]
    assert low < -2 < 2 < high


def test_rounding_by_layer_is_closer_than_rounding_each_weight(graph: DeployGraph) -> None:
    pictures = make_pictures()
    plain = make_graph(make_backbone())
    for conv in (m for m in plain.modules() if isinstance(m, nn.Conv2d)):
        step = conv.weight.flatten(1).abs().amax(1).view(-1, 1, 1, 1) / 127
        conv.weight.copy_((conv.weight / step).round() * step)
    rounded = round_weights(graph, list(pictures[:30]), size=(SIZE, SIZE))
    expected = logits_of(graph, pictures[30:])
    error = np.square(logits_of(rounded, pictures[30:]) - expected).mean()
    assert error < 0.5 * np.square(logits_of(plain, pictures[30:]) - expected).mean()


def test_one_picture_with_large_values_does_not_set_the_range() -> None:
    observer = RangeObserver()
    generator = np.random.default_rng(0)
    for index in range(50):
        observer.see("x", generator.normal(0, 100 if index == 7 else 1, 4096))
    low, high = observer.ranges()["x"]
    assert -30 < low < -2
    assert 2 < high < 30
    assert observer.widest("x")[1] > 250


@pytest.mark.parametrize("name", QUANTIZERS)
def test_quantizing_without_pictures_says_so(name: str, floats: dict[str, Files]) -> None:
    with pytest.raises(EdgetlError, match="no calibration pictures"):
        QUANTIZERS[name](floats[name], [])


@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_calibration_picture_of_another_shape_is_refused(
    name: str, floats: dict[str, Files]
) -> None:
    with pytest.raises(EdgetlError, match=r"picture 0 is uint8 \[16, 32, 3\]"):
        QUANTIZERS[name](floats[name], [np.zeros((16, 32, 3), np.uint8)])


@pytest.mark.parametrize("name", QUANTIZERS)
def test_quantizing_prints_nothing(
    name: str, floats: dict[str, Files], capsys: pytest.CaptureFixture[str]
) -> None:
    QUANTIZERS[name](floats[name], list(make_pictures()[:4]))
    assert capsys.readouterr().out == ""
