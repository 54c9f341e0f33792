"""What LiteRT's converter writes other than the network has it, in int8."""

import copy

import numpy as np
import pytest

pytest.importorskip("litert_torch")

import litert_torch
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import Tensor, nn

from edgetl.workstation.export.formats.registry import FORMATS
from edgetl.workstation.export.formats.tflite import export_tflite
from edgetl.workstation.export.graph.feature_map import find_pooled_head, with_pool
from edgetl.workstation.export.int8.plan import plan_by_ranges
from tests.workstation.export.tiny import (
    CLASSES,
    CONSTRAINTS,
    make_backbone,
    make_graph,
    make_pictures,
    run_tflite,
    torch_logits,
)


class SplitOperators(nn.Module):
    """SiLU, which becomes a sigmoid and a product, and a batch norm of a sum, a product and a sum.

    As in EfficientNet, and in RepVGG's branch without a convolution.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.act = nn.SiLU()
        self.convolution = nn.Conv2d(16, 16, 3, padding=1)
        self.branch = nn.BatchNorm2d(16)
        nn.init.uniform_(self.branch.weight, 0.5, 1.5)
        self.branch.running_mean = torch.randn(16)
        self.classify = nn.Linear(16, CLASSES)
        nn.init.normal_(self.classify.weight)

    def forward(self, picture: Tensor) -> Tensor:
        x = self.act(self.stem(picture))
        x = self.act(self.convolution(x) + self.branch(x))
        return self.classify(x.mean((2, 3)))


def test_operators_that_the_converter_splits_are_int8_or_named_as_float() -> None:
    graph, pictures = make_graph(SplitOperators().eval()), make_pictures()
    plan = plan_by_ranges(graph.with_whole_pixels(), list(pictures[:20]), CONSTRAINTS)
    files = FORMATS["tflite"].write_int8(plan, pictures[0])
    by_torch, by_tflite = torch_logits(graph, pictures), run_tflite(files, pictures)
    assert (by_tflite.argmax(1) == by_torch.argmax(1)).mean() >= 0.9
    spread = by_torch.std()
    assert np.abs(by_tflite - by_torch).mean() < 0.1 * spread

    in_float = [o.kind for o in FORMATS["tflite"].operators(files) if o.in_float]
    assert "LOGISTIC" not in in_float
    assert not {"CONV_2D", "FULLY_CONNECTED"} & set(in_float)
    interpreter = Interpreter(model_content=files[0])
    outputs = {t["index"]: t["quantization"] for t in interpreter.get_tensor_details()}
    sigmoids = [o for o in interpreter._get_ops_details() if o["op_name"] == "LOGISTIC"]
    assert [outputs[o["outputs"][0]] for o in sigmoids] == [(1 / 256, -128)] * 2


def test_one_conversion_serves_a_network_with_and_without_its_feature_map(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph, pictures = make_graph(make_backbone()), make_pictures()
    converted = export_tflite(copy.deepcopy(graph))
    with_map = with_pool(graph, find_pooled_head(graph))
    (mapped,) = export_tflite(with_map)
    assert len(Interpreter(model_content=mapped).get_output_details()) == 2

    monkeypatch.delattr(litert_torch, "convert")
    derived = export_tflite(graph)
    np.testing.assert_array_equal(run_tflite(derived, pictures), run_tflite(converted, pictures))
    assert len(derived[0]) < 1.05 * len(converted[0])
    assert export_tflite(with_map) == (mapped,)


def test_a_network_whose_weights_have_changed_is_converted_anew() -> None:
    graph, pictures = make_graph(make_backbone()), make_pictures()
    before = run_tflite(export_tflite(graph), pictures)
    with torch.no_grad():
        graph.backbone.classify.weight *= -1
    after = run_tflite(export_tflite(graph), pictures)
    np.testing.assert_allclose(after, torch_logits(graph, pictures), atol=1e-4)
    assert np.abs(after - before).max() > 0.1
