"""Chooses the activations that an int8 network rounds, the same ones in every format."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.graph.nodes import NodeObserver, module_of, stacked

_SAMPLE = 1000


def find_points(graph: DeployGraph, picture: Pixels) -> dict[str, str]:
    """Return the nodes whose output is rounded to 8 bits, each with the name of its group.

    All nodes of a group share their quantization parameters. Every operation's output is rounded,
    except that of a convolution, linear layer or sum that only a ReLU or ReLU6 reads: all three
    runtimes fuse the two. Operations that only move values, such as max pooling, and concatenations
    are in one group with their inputs, so that they are exact. Padding is not rounded: it is part
    of the convolution that reads it.

    Args:
        graph: the float network to quantize.
        picture: uint8 [H, W, 3], of the kind the device will see.
    """
    seen: dict[fx.Node, Tensor] = {}
    groups: dict[fx.Node, fx.Node] = {}
    points: list[fx.Node] = []

    def see(node: fx.Node, value: Any) -> Any:
        if node.op == "output" or not (isinstance(value, Tensor) and value.is_floating_point()):
            return value
        seen[node], groups[node] = value, node
        sources = _tensors_read(node, seen)
        moves = (
            bool(sources) and not _is_relu(graph.backbone, node) and _moves(value, sources, seen)
        )
        if moves or node.target is torch.cat:
            for source in sources:
                groups[_root(groups, node)] = _root(groups, source)
        padding = moves and value.numel() > sum(seen[source].numel() for source in sources)
        if not padding and not _is_fused(graph.backbone, node):
            points.append(node)
        return value

    with torch.inference_mode():
        NodeObserver(graph.backbone, see).run(graph.normalised(stacked([picture])))
    return {node.name: _root(groups, node).name for node in points}


def _tensors_read(node: fx.Node, seen: dict[fx.Node, Tensor]) -> list[fx.Node]:
    """Return the nodes whose float tensors a node reads, directly or from a tuple of tensors."""
    nodes = []
    for source in node.all_input_nodes:
        nodes += [source] if source in seen else _tensors_read(source, seen)
    return nodes


def _moves(value: Tensor, sources: list[fx.Node], seen: dict[fx.Node, Tensor]) -> bool:
    """Whether a node outputs only values that it read, and zeros, judged by a sample of them."""
    sample = value.flatten()[:: max(1, value.numel() // _SAMPLE)]
    read = torch.cat([seen[source].flatten() for source in sources])
    return bool(torch.isin(sample[sample != 0], read).all()) and bool(sample.any())


def _is_fused(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a ReLU is the only reader of a node's output, so that runtimes fuse the two."""
    if node.op == "placeholder" or _is_relu(traced, node) or len(node.users) != 1:
        return False
    return _is_relu(traced, next(iter(node.users)))


def _is_relu(traced: fx.GraphModule, node: fx.Node) -> bool:
    module = module_of(traced, node)
    return isinstance(module, (nn.ReLU, nn.ReLU6)) or node.target in (functional.relu, torch.relu)


def _root(groups: dict[fx.Node, fx.Node], node: fx.Node) -> fx.Node:
    while groups[node] is not node:
        node = groups[node]
    return node
