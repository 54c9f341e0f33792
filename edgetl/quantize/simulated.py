"""The int8 network in torch: float arithmetic on values that are rounded as the engines round."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from edgetl.quantize.graph import Graph
from edgetl.quantize.ranges import Grid

AnyGraph = TypeVar("AnyGraph", bound=Graph)


class Rounded(nn.Module):
    """Rounds float values of any shape to a grid's 256 steps; its gradient is that of clipping."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, values: Tensor) -> Tensor:
        """The nearest step to each value, float32 of the same shape."""
        return torch.fake_quantize_per_tensor_affine(
            values, self.grid.scale, self.grid.zero, 0, 255
        )


def simulate(graph: AnyGraph, grids: Mapping[str, Grid]) -> AnyGraph:
    """Copy a graph with the named nodes' outputs rounded.

    Weights are taken to be on their grid already (`round_weights`). Exported to ONNX each rounding
    becomes a QuantizeLinear and a DequantizeLinear.
    """
    graph = copy.deepcopy(graph)
    traced = graph.backbone
    for node in list(traced.graph.nodes):
        if node.name not in grids:
            continue
        name = f"rounded_{node.name}"
        traced.add_submodule(name, Rounded(grids[node.name]))
        with traced.graph.inserting_after(node):
            rounded = traced.graph.call_module(name, (node,))
        node.replace_all_uses_with(rounded, delete_user_cb=lambda user, it=rounded: user is not it)
    traced.recompile()
    return graph
