import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgetl.runtime.engines.registry import load_engine
from edgetl.workstation.export.formats.registry import FORMATS
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.graph.feature_map import find_pooled_head, with_pool
from edgetl.workstation.export.int8.plan import plan_by_ranges
from tests.workstation.export.tiny import (
    CLASSES,
    CONSTRAINTS,
    make_backbone,
    make_graph,
    make_pictures,
)


@pytest.fixture(scope="module")
def graph() -> DeployGraph:
    return make_graph(make_backbone())


def test_the_map_is_what_the_pooling_reads(graph: DeployGraph) -> None:
    head = find_pooled_head(graph)
    assert head is not None
    assert head.shape == (16, 16, 64)
    assert head.weights.shape == (CLASSES, 64)
    assert head.weights.tolist() == graph.backbone.classify.weight.tolist()


class Other(nn.Module):
    """A network that does not end in average pooling and one linear layer."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(3, 8, 3)
        self.dense, self.out = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, picture: Tensor) -> Tensor:
        maps = self.conv(picture)
        if self.kind == "largest":
            return self.out(maps.amax((2, 3)))
        if self.kind == "hidden":
            return self.out(torch.relu(self.dense(maps.mean((2, 3)))))
        return self.out(maps.mean((2, 3))).sigmoid()


@pytest.mark.parametrize("kind", ["largest", "hidden", "sigmoid"])
def test_other_heads_have_no_map(kind: str) -> None:
    assert find_pooled_head(make_graph(Other(kind).eval())) is None


@pytest.mark.parametrize("scheme", ["fp32", "int8"])
@pytest.mark.parametrize("name", ["onnx", "openvino", "tflite"])
def test_the_logits_are_the_same_with_and_without_a_map(
    graph: DeployGraph, name: str, scheme: str
) -> None:
    pictures = list(make_pictures()[:8])
    head = find_pooled_head(graph)
    assert head is not None
    if scheme == "int8":
        plan = plan_by_ranges(graph.with_whole_pixels(), pictures, CONSTRAINTS)
        written = [
            FORMATS[name].write_int8(plan._replace(graph=with_pool(plan.graph, each)), pictures[0])
            for each in (None, head)
        ]
    else:
        written = [
            FORMATS[name].write_float(with_pool(graph, each), "fp32") for each in (None, head)
        ]
    plain, mapped = (load_engine(FORMATS[name].engine, files, threads=1) for files in written)
    for picture in pictures:
        assert plain.explain(picture[np.newaxis])[1] is None
        logits, maps = mapped.explain(picture[np.newaxis])
        assert logits.tolist() == plain(picture[np.newaxis]).tolist()
        assert maps is not None
        assert (maps.shape, maps.dtype) == ((16, 16, 64), np.float32)
        # What the last layer makes of the map are the logits, but for its bias and int8's rounding.
        own = maps.mean((0, 1)) @ head.weights.T + graph.backbone.classify.bias.numpy()
        assert np.abs(own - logits).max() < (0.05 if scheme == "int8" else 1e-4) * np.ptp(logits)
