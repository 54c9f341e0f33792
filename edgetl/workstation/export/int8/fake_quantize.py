"""The int8 network in torch: float arithmetic on values that are rounded as in the engines."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.int8.ranges import QuantParams


class FakeQuantize(nn.Module):
    """Rounds float values of any shape to 256 steps; the gradient is that of clipping alone."""

    def __init__(self, params: QuantParams) -> None:
        super().__init__()
        self.params = params

    def forward(self, values: Tensor) -> Tensor:
        """Round each value to the nearest step, float32 of the same shape."""
        return torch.fake_quantize_per_tensor_affine(
            values, self.params.scale, self.params.zero, 0, 255
        )


def fake_quantize(graph: DeployGraph, params: Mapping[str, QuantParams]) -> DeployGraph:
    """Copy a graph with the named nodes' outputs rounded.

    The weights must be rounded already (`round_weights`). Each rounding is exported to ONNX as a
    QuantizeLinear and a DequantizeLinear.
    """
    graph = copy.deepcopy(graph)
    traced = graph.backbone
    for node in list(traced.graph.nodes):
        if node.name not in params:
            continue
        name = f"rounded_{node.name}"
        traced.add_submodule(name, FakeQuantize(params[node.name]))
        with traced.graph.inserting_after(node):
            rounded = traced.graph.call_module(name, (node,))
        node.replace_all_uses_with(
            rounded, delete_user_cb=lambda user, new=rounded: user is not new
        )
    traced.recompile()
    return graph
