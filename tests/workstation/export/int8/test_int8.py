from itertools import combinations

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from torch import nn

from edgetl.core.errors import EdgetlError
from edgetl.core.progress import Silent
from edgetl.workstation.export.formats.onnx import export_onnx
from edgetl.workstation.export.formats.onnx_qdq import quantize_onnx
from edgetl.workstation.export.formats.registry import FORMATS
from edgetl.workstation.export.formats.spec import OperatorPrecision, summarise_precision
from edgetl.workstation.export.formats.tflite import export_tflite
from edgetl.workstation.export.formats.tflite_int8 import quantize_tflite
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.int8.constraints import QuantizationConstraints
from edgetl.workstation.export.int8.distillation import distil
from edgetl.workstation.export.int8.equalization import equalize_channels
from edgetl.workstation.export.int8.ladder import QuantizationLadder
from edgetl.workstation.export.int8.plan import QuantizationPlan, plan_by_ranges
from edgetl.workstation.export.int8.quantization_points import find_points
from edgetl.workstation.export.int8.ranges import SYMMETRIC_ZERO, QuantParams, RangeObserver
from edgetl.workstation.export.int8.rounding import nearest_steps, round_weights
from edgetl.workstation.export.int8.sensitivity import measure_sensitivities, signal_to_noise_db
from tests.workstation.export.tiny import (
    CONSTRAINTS,
    CONVOLUTIONS,
    RUNNERS,
    SIZE,
    TinyNet,
    make_backbone,
    make_graph,
    make_pictures,
)
from tests.workstation.export.tiny import torch_logits as logits_of

Files = tuple[bytes, ...]
TFLITE_LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def write(plan: QuantizationPlan) -> dict[str, Files]:
    """Every format's file of one planned network."""
    return {spec.name: spec.write_int8(plan, make_pictures()[0]) for spec in FORMATS.values()}


def inspect(name: str, files: Files) -> OperatorPrecision:
    operators = FORMATS[name].operators
    if operators is None:
        pytest.skip(f"the format '{name}' does not say what its operators compute in")
    return summarise_precision(operators(files))


@pytest.fixture(scope="module")
def graph() -> DeployGraph:
    return make_graph(make_backbone())


@pytest.fixture(scope="module")
def plan(graph: DeployGraph) -> QuantizationPlan:
    return plan_by_ranges(graph.with_whole_pixels(), list(make_pictures()[:30]), CONSTRAINTS)


@pytest.fixture(scope="module")
def int8(plan: QuantizationPlan) -> dict[str, Files]:
    return write(plan)


def test_symmetric_int8_is_signed_about_zero_everywhere_and_the_same_network(
    graph: DeployGraph,
) -> None:
    whole = graph.with_whole_pixels(SYMMETRIC_ZERO)
    plan = plan_by_ranges(whole, list(make_pictures()[:30]), CONSTRAINTS._replace(symmetric=True))
    assert {params.zero for params in plan.params.values()} == {SYMMETRIC_ZERO}
    files = write(plan)
    files["onnx"] = quantize_onnx(export_onnx(plan.fake_quantized()), plan.constraints)
    model = onnx.load_model_from_string(files["onnx"][0])
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    roundings = [n for n in model.graph.node if "quantizelinear" in n.op_type.lower()]
    zeros = [constants[node.input[2]] for node in roundings]
    assert len(zeros) > 10
    assert all(zero.dtype == np.int8 and not zero.any() for zero in zeros)
    simulated = logits_of(plan.fake_quantized(), make_pictures())
    for name in FORMATS:
        assert signal_to_noise_db(simulated, RUNNERS[name](files[name], make_pictures())) > 30


def test_weights_of_a_reduced_range_have_seven_bits_in_every_format(graph: DeployGraph) -> None:
    pictures = make_pictures()
    constraints = QuantizationConstraints(reduced_range=True)
    plan = plan_by_ranges(graph.with_whole_pixels(), list(pictures[:30]), constraints)
    simulated = export_onnx(plan.fake_quantized())
    for for_openvino in (False, True):
        files = quantize_onnx(simulated, constraints, for_openvino=for_openvino)
        tensors = onnx.load_model_from_string(files[0]).graph.initializer
        weights = [onnx.numpy_helper.to_array(t) for t in tensors if t.name.endswith("weight_int8")]
        assert len(weights) == CONVOLUTIONS + 1
        assert {int(np.abs(weight).max()) for weight in weights} == {63}
    files = write(plan)
    weights = tflite_weights(Interpreter(model_content=files["tflite"][0]))
    assert len(weights) == CONVOLUTIONS + 1
    assert {int(np.abs(weight).max()) for weight in weights} == {63}
    wanted = logits_of(plan.fake_quantized(), pictures)
    for name in "onnx", "tflite":  # OpenVINO reads what ONNX's file says
        assert signal_to_noise_db(wanted, RUNNERS[name](files[name], pictures)) > 30


def tflite_weights(interpreter: Interpreter) -> list[NDArray[np.generic]]:
    """What every layer of a TFLite file multiplies by, as the file stores it."""
    interpreter.allocate_tensors()
    operators = [op for op in interpreter._get_ops_details() if op["op_name"] in TFLITE_LAYERS]
    return [interpreter.get_tensor(operator["inputs"][1]) for operator in operators]


@pytest.mark.parametrize("name", FORMATS)
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
    types |= {n.output[0]: n.attribute[0].t.data_type for n in graph.node if not n.input}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == CONVOLUTIONS
    for node in convolutions:
        readers = [made_by[name] for name in node.input[:2]]
        assert [reader.op_type for reader in readers] == ["DequantizeLinear"] * 2
        assert types[readers[0].input[2]] == onnx.TensorProto.UINT8
        assert types[readers[1].input[0]] == onnx.TensorProto.INT8


def test_tflite_convolutions_compute_in_int8(int8: dict[str, Files]) -> None:
    interpreter = Interpreter(model_content=int8["tflite"][0])
    types = {tensor["index"]: tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    operators = [op for op in interpreter._get_ops_details() if op["op_name"] in TFLITE_LAYERS]
    assert len(operators) == CONVOLUTIONS + 1  # and the linear layer
    for operator in operators:
        assert [types[i] for i in operator["inputs"][:2]] == [np.int8, np.int8]


def test_the_formats_are_one_network(plan: QuantizationPlan, int8: dict[str, Files]) -> None:
    pictures = make_pictures()
    simulated = logits_of(plan.fake_quantized(), pictures)
    answers = {name: RUNNERS[name](files, pictures) for name, files in int8.items()}
    for name in FORMATS:
        assert signal_to_noise_db(simulated, answers[name]) > 30
    for one, other in combinations(FORMATS, 2):
        assert (answers[one].argmax(1) == answers[other].argmax(1)).mean() >= 0.97


@pytest.mark.parametrize("name", FORMATS)
def test_all_multiplications_are_in_int8_and_what_is_not_is_named(
    name: str, int8: dict[str, Files]
) -> None:
    precision = inspect(name, int8[name])
    assert precision.int8_macs == 1.0
    assert not {"CONV_2D", "Conv", "FusedConv", "Convolution"} & set(precision.float_operators)


def test_a_float_file_has_no_multiplication_in_int8(graph: DeployGraph) -> None:
    precision = inspect("onnx", export_onnx(graph))
    assert precision.int8_macs == 0.0
    assert sum(n for kind, n in precision.float_operators.items() if "Conv" in kind) == CONVOLUTIONS


def test_pixels_reach_the_first_layer_as_they_are(int8: dict[str, Files]) -> None:
    graph = onnx.load_model_from_string(int8["onnx"][0]).graph
    kinds = [node.op_type for node in graph.node if node.op_type != "Constant"]
    assert kinds[:2] == ["Transpose", "DequantizeLinear"]
    assert "Cast" not in kinds


def test_whole_pixels_change_next_to_nothing(graph: DeployGraph) -> None:
    pictures = make_pictures()
    whole = graph.with_whole_pixels()
    assert whole.pixel_zero == 114  # of 123.7, 116.3 and 103.5
    assert signal_to_noise_db(logits_of(graph, pictures), logits_of(whole, pictures)) > 25
    read = whole.normalised(torch.from_numpy(pictures[:1])) * 128 + 114
    assert torch.equal(read.permute(0, 2, 3, 1), torch.from_numpy(pictures[:1]).float())


def test_a_channel_without_weights_keeps_its_bias() -> None:
    backbone = make_backbone()
    with torch.no_grad():
        backbone.stem.weight[3] *= 1e-9
        backbone.stem.bias[3] = 5.0
    graph, pictures = make_graph(backbone), make_pictures()
    expected = logits_of(graph, pictures)
    files = write(plan_by_ranges(graph.with_whole_pixels(), list(pictures), CONSTRAINTS))
    for name in FORMATS:
        error = np.abs(RUNNERS[name](files[name], pictures) - expected).mean()
        assert error < 0.05 * np.abs(expected).mean()


def test_where_activations_are_rounded(graph: DeployGraph) -> None:
    points = find_points(graph, make_pictures()[0])
    names = list(points)
    assert names[0] == "picture"  # what the backbone reads
    assert "expand_2" in names  # a ReLU6, and not the convolution before it
    assert "expand_0" not in names
    assert {"head_0", "head_2"} <= set(names)  # no runtime joins a hard swish to a convolution
    assert names[-1] == "classify"


def test_what_moves_values_shares_their_params() -> None:
    class Moving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)
            self.pool = nn.MaxPool2d(2)
            self.last = nn.Linear(16, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            both = torch.cat([self.one(x), self.two(x)], 1)
            return self.last(self.pool(both).mean((2, 3)))

    torch.manual_seed(0)
    points = find_points(make_graph(Moving()), make_pictures()[0])
    assert len({points[name] for name in ("one", "two", "cat", "pool")}) == 1
    assert points["mean"] == "mean"


def test_only_what_is_rounded_alone_is_measured(plan: QuantizationPlan) -> None:
    found = measure_sensitivities(plan, list(make_pictures()), Silent())
    assert {one.activation for one in found} == set(plan.groups.values())
    assert [one.snr_db for one in found] == sorted(one.snr_db for one in found)
    (pixels,) = (one for one in found if one.activation == "picture")
    assert (pixels.snr_db, pixels.layers) == (120.0, ())  # exact
    (expand,) = (one for one in found if one.activation == "expand_2")
    assert expand.layers == ("expand_0",)


def test_a_coarse_grid_is_measured_most(plan: QuantizationPlan) -> None:
    coarse = dict(plan.params) | {"head_2": QuantParams(1.0, 0)}
    worst = measure_sensitivities(plan._replace(params=coarse), list(make_pictures()), Silent())[0]
    assert worst.activation == "head_2"


def test_tuning_brings_the_network_closer_to_its_teacher(graph: DeployGraph) -> None:
    pictures = make_pictures()
    whole = graph.with_whole_pixels()
    plan = plan_by_ranges(whole, list(pictures[:30]), CONSTRAINTS)
    rough = dict(plan.params) | {"head_2": QuantParams(4 * plan.params["head_2"].scale, 0)}
    plan = plan._replace(params=rough)
    expected = logits_of(graph, pictures[30:])
    before = signal_to_noise_db(expected, logits_of(plan.fake_quantized(), pictures[30:]))
    tuned = distil(plan, whole, list(pictures[:30]), Silent())
    after = signal_to_noise_db(expected, logits_of(tuned.fake_quantized(), pictures[30:]))
    assert after > before + 1
    assert tuned.params == plan.params


def test_a_ladder_is_climbed_once_for_all_formats(graph: DeployGraph) -> None:
    pictures = list(make_pictures())
    ladder = QuantizationLadder(graph.with_whole_pixels(), pictures, lambda: pictures, Silent())
    names = [candidate.name for candidate in ladder]
    assert names == ["ranges", "tuned", "float-1", "float-2", "float-4", "float-8"]
    for one, other in zip(ladder, ladder, strict=True):
        assert one is other
    assert [candidate.mixed for candidate in ladder] == [False, False, True, True, True, True]


def test_what_stays_float_is_float_in_every_format(plan: QuantizationPlan) -> None:
    mixed = plan.without(["expand_2"])
    pictures = make_pictures()
    simulated = logits_of(mixed.fake_quantized(), pictures)
    for name, files in write(mixed).items():
        precision = inspect(name, files)
        assert 0.1 < precision.int8_macs < 1.0
        assert any("conv" in kind.lower() for kind in precision.float_operators)
        assert signal_to_noise_db(simulated, RUNNERS[name](files, pictures)) > 30


def test_rounded_weights_are_whole_steps_of_their_largest(graph: DeployGraph) -> None:
    rounded = round_weights(graph, list(make_pictures()))
    for conv in (m for m in rounded.modules() if isinstance(m, (nn.Conv2d, nn.Linear))):
        rows = conv.weight.flatten(1)
        steps = rows / (rows.abs().amax(1, keepdim=True) / 127)
        torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)


def test_equalising_fills_the_channels_and_keeps_the_function(graph: DeployGraph) -> None:
    pictures = make_pictures()
    even = equalize_channels(graph, list(pictures))
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
    plain, rounded = make_graph(make_backbone()), round_weights(graph, list(pictures[:30]))
    for conv in (m for m in plain.modules() if isinstance(m, nn.Conv2d)):
        conv.weight.copy_(nearest_steps(conv.weight))
    # The linear layer, which is rounded weight by weight, is not what this is about.
    last = graph.get_submodule("backbone.classify").weight
    rounded.get_submodule("backbone.classify").weight.copy_(last)
    expected = logits_of(graph, pictures[30:])
    error = np.square(logits_of(rounded, pictures[30:]) - expected).mean()
    assert error < 0.1 * np.square(logits_of(plain, pictures[30:]) - expected).mean()


def test_one_picture_with_large_values_does_not_set_the_range() -> None:
    observer = RangeObserver()
    generator = np.random.default_rng(0)
    for index in range(50):
        observer.see("x", generator.normal(0, 100 if index == 7 else 1, 4096))
    low, high = observer.ranges()["x"]
    assert -30 < low < -2
    assert 2 < high < 30
    assert observer.widest("x")[1] > 250


def test_quantizing_without_pictures_says_so(graph: DeployGraph) -> None:
    with pytest.raises(EdgetlError, match="no calibration pictures"):
        plan_by_ranges(graph, [])


def test_a_calibration_picture_of_another_shape_is_refused(graph: DeployGraph) -> None:
    with pytest.raises(EdgetlError, match=r"picture 0 is uint8 \[16, 32, 3\]"):
        plan_by_ranges(graph, [np.zeros((16, 32, 3), np.uint8)])


def test_a_network_that_answers_nonsense_is_named_by_its_layer() -> None:
    backbone = make_backbone()
    with torch.no_grad():
        backbone.squeeze.weight[0, 0] = float("nan")
    with pytest.raises(EdgetlError, match="Layer 'squeeze' answers a picture with something"):
        plan_by_ranges(make_graph(backbone), list(make_pictures()))


def test_black_pictures_and_a_silent_layer_break_nothing() -> None:
    backbone = make_backbone()
    with torch.no_grad():
        backbone.squeeze.weight.zero_()
        backbone.squeeze.bias.zero_()
    graph = make_graph(backbone).with_whole_pixels()
    plan = plan_by_ranges(graph, [np.zeros((SIZE, SIZE, 3), np.uint8)] * 3)
    for name, files in write(plan).items():
        assert np.isfinite(RUNNERS[name](files, make_pictures())).all()


def test_a_tensor_of_the_tflite_file_that_is_no_node_of_the_network_is_an_error(
    plan: QuantizationPlan,
) -> None:
    torch.manual_seed(1)
    other = make_graph(TinyNet().eval()).with_whole_pixels()  # other weights, other numbers
    with pytest.raises(EdgetlError) as caught:
        quantize_tflite(export_tflite(other), plan, make_pictures()[0])
    assert "of the TFLite file (CONV_2D) is no node of the network" in str(caught.value)
    assert caught.value.hint.startswith("export the other formats, --format onnx,openvino")


def test_quantizing_prints_nothing(
    plan: QuantizationPlan, capsys: pytest.CaptureFixture[str]
) -> None:
    write(plan)
    assert capsys.readouterr().out == ""
