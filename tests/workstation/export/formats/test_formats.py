import numpy as np
import onnx
import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from edgetl.workstation.export.formats.onnx import export_onnx
from edgetl.workstation.export.formats.registry import FORMATS
from edgetl.workstation.export.graph.deploy import DeployGraph, fold_batch_norms
from edgetl.workstation.export.graph.pooling import EvenBins
from tests.workstation.export.tiny import (
    CLASSES,
    MEAN,
    RUNNERS,
    SIZE,
    STD,
    make_backbone,
    make_graph,
    make_pictures,
)
from tests.workstation.export.tiny import torch_logits as logits_of


@pytest.fixture(scope="module")
def graph() -> DeployGraph:
    return make_graph(make_backbone())


def test_folding_leaves_no_batch_norm_and_the_same_function() -> None:
    backbone = make_backbone()
    folded = fold_batch_norms(backbone)
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
    picture = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(folded(picture), backbone(picture), atol=1e-4, rtol=1e-4)


def test_a_batch_norm_with_an_activation_leaves_the_activation_behind() -> None:
    timm = pytest.importorskip("timm")
    backbone = timm.create_model("efficientnet_lite0", num_classes=3).eval()
    folded = fold_batch_norms(backbone)
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
    picture = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(folded(picture), backbone(picture), atol=1e-4, rtol=1e-4)


def test_the_graph_normalises_pixels_as_the_backbone_was_trained(graph: DeployGraph) -> None:
    pictures = make_pictures()[:4]
    planes = (pictures / 255.0 - np.array(MEAN)) / np.array(STD)
    planes = torch.from_numpy(planes.transpose(0, 3, 1, 2).astype(np.float32))
    with torch.inference_mode():
        expected = make_backbone()(planes).numpy()
    np.testing.assert_allclose(logits_of(graph, pictures), expected, atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 7), (7, 7), (10, 9), (20, 33)])
def test_even_bins_average_as_adaptive_pooling_does(size: tuple[int, int]) -> None:
    maps = torch.rand(2, 3, *size)
    expected = nn.AdaptiveAvgPool2d((7, 6))(maps)
    torch.testing.assert_close(EvenBins(size, (7, 6))(maps), expected)


@pytest.mark.parametrize(("size_px", "replaced"), [(32, True), (112, False)])
def test_only_pools_with_uneven_bins_are_written_out(size_px: int, replaced: bool) -> None:
    backbone = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=16, padding=1),
        nn.AdaptiveAvgPool2d(7),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ).eval()
    graph = DeployGraph(backbone, mean=MEAN, std=STD, size=(size_px, size_px))
    kinds = [type(module) for module in graph.modules()]
    assert (EvenBins in kinds) == replaced
    assert kinds.count(nn.AdaptiveAvgPool2d) == 2 - replaced
    picture = torch.rand(1, 3, size_px, size_px)
    torch.testing.assert_close(graph.backbone(picture), backbone(picture), atol=1e-5, rtol=1e-4)


def same_padded(size: tuple[int, int]) -> tuple[nn.Module, DeployGraph]:
    """Strided "SAME" convolutions, as in networks that were trained with TensorFlow."""
    torch.manual_seed(0)
    backbone = nn.Sequential(
        Conv2dSame(3, 8, 3, stride=2),
        nn.ReLU6(),
        Conv2dSame(8, 8, 5, stride=2, groups=8),
        nn.Conv2d(8, CLASSES, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ).eval()
    return backbone, DeployGraph(backbone, mean=MEAN, std=STD, size=size)


# Even sides put an odd pixel behind; odd ones are padded alike on both sides.
@pytest.mark.parametrize("size", [(32, 32), (33, 33), (32, 33), (30, 31)])
def test_tensorflows_padding_is_fixed_for_the_size_of_the_picture(size: tuple[int, int]) -> None:
    backbone, graph = same_padded(size)
    assert not [m for m in graph.modules() if isinstance(m, Conv2dSame)]
    picture = torch.rand(1, 3, *size)
    torch.testing.assert_close(graph.backbone(picture), backbone(picture), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", FORMATS)
def test_tensorflows_padding_is_the_same_in_every_format(name: str) -> None:
    _, graph = same_padded((SIZE, SIZE))
    pictures = make_pictures()[:8]
    answers = RUNNERS[name](FORMATS[name].write_float(graph, "fp32"), pictures)
    np.testing.assert_allclose(answers, logits_of(graph, pictures), atol=1e-4)


def test_onnx_convolutions_do_their_padding_themselves() -> None:
    _, graph = same_padded((SIZE, SIZE))
    (model,) = export_onnx(graph)
    nodes = onnx.load_model_from_string(model).graph.node
    assert "Pad" not in [node.op_type for node in nodes]
    pads = [
        list(a.ints) for n in nodes if n.op_type == "Conv" for a in n.attribute if a.name == "pads"
    ]
    assert pads == [[0, 0, 1, 1], [1, 1, 2, 2], [0, 0, 0, 0]]


@pytest.mark.parametrize("name", FORMATS)
def test_a_float_model_answers_as_torch_does(name: str, graph: DeployGraph) -> None:
    pictures = make_pictures()
    answers = RUNNERS[name](FORMATS[name].write_float(graph, "fp32"), pictures)
    np.testing.assert_allclose(answers, logits_of(graph, pictures), atol=1e-4)


@pytest.mark.parametrize("name", [name for name in FORMATS if "fp16" in FORMATS[name].schemes])
def test_half_precision_is_smaller_and_answers_alike(name: str, graph: DeployGraph) -> None:
    pictures = make_pictures()
    full, half = (FORMATS[name].write_float(graph, scheme) for scheme in ("fp32", "fp16"))
    assert len(half[-1]) < 0.8 * len(full[-1])
    np.testing.assert_allclose(RUNNERS[name](half, pictures), logits_of(graph, pictures), atol=0.05)


@pytest.mark.parametrize("name", FORMATS)
def test_exporting_prints_nothing(
    name: str, graph: DeployGraph, capsys: pytest.CaptureFixture[str]
) -> None:
    FORMATS[name].write_float(graph, "fp32")
    assert capsys.readouterr().out == ""
