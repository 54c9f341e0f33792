"""The sizes of what flows through a graph."""

from collections.abc import Sequence

import torch
from torch import fx
from torch.fx.passes.shape_prop import ShapeProp


def input_shapes(
    traced: fx.GraphModule, size: tuple[int, int], nodes: Sequence[fx.Node]
) -> dict[fx.Node, torch.Size]:
    """The shape of what each node reads when the graph is given float32 [1, 3, *size]."""
    if not nodes:
        return {}
    with torch.inference_mode():
        ShapeProp(traced).propagate(torch.zeros(1, 3, *size))
    return {node: node.all_input_nodes[0].meta["tensor_meta"].shape for node in nodes}
