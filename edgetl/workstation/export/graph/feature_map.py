"""The last feature map of a network, exported as a second output for class activation maps."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from edgetl.workstation.export.graph.deploy import OUTPUT_NAME, DeployGraph
from edgetl.workstation.export.graph.nodes import NodeObserver, module_of, stacked

FEATURE_MAP_NAME = "features"


class PooledHead(NamedTuple):
    """A head of global average pooling and one linear layer.

    Attributes:
        pool: the name of the graph's node that averages the last feature map.
        weights: the linear layer's weights, float32 [outputs, channels].
        shape: h, w and channels of the feature map.
    """

    pool: str
    weights: NDArray[np.float32]
    shape: tuple[int, int, int]


def find_pooled_head(graph: DeployGraph) -> PooledHead | None:
    """Find the pooling and the linear layer that a network ends in; None if it ends otherwise.

    The feature map is recognised by its values: their means over all places are what the last
    layer, which must be linear, reads. Between the two there may be operations that keep values,
    such as flattening. A map of a single place is not one: it would show nothing.
    """
    values = _node_values(graph)
    linear = _output(graph.backbone).all_input_nodes[0]
    while not isinstance(layer := module_of(graph.backbone, linear), nn.Linear):
        if len(linear.all_input_nodes) != 1:
            return None
        (source,) = linear.all_input_nodes
        if not torch.equal(values[source.name].flatten(), values[linear.name].flatten()):
            return None
        linear = source
    node = linear.all_input_nodes[0]
    read = values[node.name].flatten()
    while len(node.all_input_nodes) == 1:
        (source,) = node.all_input_nodes
        maps = values.get(source.name)
        if maps is None:
            return None
        if maps.ndim == 4 and maps.shape[2] * maps.shape[3] > 1:
            means = maps.mean((2, 3)).flatten()
            if means.shape != read.shape or not torch.allclose(means, read, rtol=1e-4, atol=1e-5):
                return None
            _, channels, rows, columns = maps.shape
            return PooledHead(node.name, layer.weight.numpy().copy(), (rows, columns, channels))
        node = source
    return None


def with_pool(graph: DeployGraph, head: PooledHead | None) -> DeployGraph:
    """Return a graph that exports the feature map that `head` pools; with None, the graph itself.

    The copy shares its layers.
    """
    if head is None:
        return graph
    graph = copy.copy(graph)
    graph.pool = head.pool
    return graph


class WithFeatureMap(nn.Module):
    """A graph whose feature map is a second output, float32 [1, h, w, channels].

    Args:
        graph: has a `pool`.
        pool_last: average the map with its channels last, as the TFLite converter writes pooling
            layers, but not calls of `mean`, in a graph without this output. The order of the sum,
            and so the logits' last bits, depend on it.
    """

    def __init__(self, graph: DeployGraph, *, pool_last: bool) -> None:
        super().__init__()
        assert graph.pool is not None
        # Not named `graph`: torch.export's modules have an attribute of that name.
        self.network = copy.deepcopy(graph)
        traced = self.network.backbone
        output = _output(traced)
        pool = next(node for node in traced.graph.nodes if node.name == graph.pool)
        (maps,) = pool.all_input_nodes
        with traced.graph.inserting_after(maps):
            last = traced.graph.call_method("permute", (maps, 0, 2, 3, 1))
        if pool_last and pool.target not in ("mean", torch.mean):
            shape = tuple(_node_values(graph)[graph.pool].shape)
            with traced.graph.inserting_before(pool):
                means = traced.graph.call_method("mean", (last, (1, 2)))
                pooled = traced.graph.call_method("reshape", (means, shape))
            pool.replace_all_uses_with(pooled)
            traced.graph.erase_node(pool)
        output.args = ((output.args[0], last),)
        traced.recompile()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 [1, H, W, 3] to logits [1, C] and the feature map."""
        logits, maps = self.network.backbone(self.network.normalised(pixels))
        return logits, maps


def exported_module(graph: DeployGraph, *, pool_last: bool = False) -> nn.Module:
    """Return the module that converters trace: the graph, or if it has a `pool`, with its map."""
    return graph if graph.pool is None else WithFeatureMap(graph, pool_last=pool_last)


def output_names(graph: DeployGraph) -> list[str]:
    """Return the names of the outputs of `exported_module(graph)`, in order."""
    return [OUTPUT_NAME] if graph.pool is None else [OUTPUT_NAME, FEATURE_MAP_NAME]


def _node_values(graph: DeployGraph) -> dict[str, Tensor]:
    """Return the tensors that a graph's nodes output for a picture of noise, by name."""
    values: dict[str, Tensor] = {}

    def see(node: fx.Node, value: Any) -> Any:
        if isinstance(value, Tensor):
            values[node.name] = value
        return value

    height, width = graph.size
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    with torch.inference_mode():
        NodeObserver(graph.backbone, see).run(graph.normalised(stacked([noise])))
    return values


def _output(traced: fx.GraphModule) -> fx.Node:
    (output,) = (node for node in traced.graph.nodes if node.op == "output")
    assert isinstance(output, fx.Node)
    return output
