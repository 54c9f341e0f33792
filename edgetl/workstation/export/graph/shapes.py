"""The sizes of the feature maps that a graph's modules read."""

from typing import NamedTuple, TypeVar

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

Kind = TypeVar("Kind", bound=nn.Module)


class Read(NamedTuple):
    """Height and width of the feature maps that a node's module reads."""

    height: int
    width: int


def modules_of_kind(traced: fx.GraphModule, kind: type[Kind]) -> dict[fx.Node, Kind]:
    """Return the nodes that call modules of one class, with the modules."""
    return {
        node: module
        for node in traced.graph.nodes
        if node.op == "call_module"
        and isinstance(module := traced.get_submodule(str(node.target)), kind)
    }


def maps_read(
    traced: fx.GraphModule, size: tuple[int, int], modules: dict[fx.Node, Kind]
) -> dict[fx.Node, Read]:
    """Return the size of the maps that each node reads if the input is float32 [1, 3, *size]."""
    if not modules:
        return {}
    with torch.inference_mode():
        ShapeProp(traced).propagate(torch.zeros(1, 3, *size))
    return {node: Read(*node.all_input_nodes[0].meta["tensor_meta"].shape[2:]) for node in modules}
