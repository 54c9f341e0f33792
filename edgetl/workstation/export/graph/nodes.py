"""Inspection of a traced graph: its layers, and the outputs of its nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.export.graph.deploy import DeployGraph

_BATCH = 16


class NodeObserver(fx.Interpreter):
    """Runs a traced graph and passes each node's result to `see`, which returns its replacement."""

    def __init__(self, traced: fx.GraphModule, see: Callable[[fx.Node, Any], Any]) -> None:
        super().__init__(traced)
        self._see = see

    def run_node(self, n: fx.Node) -> Any:
        """Run one node and return what `see` makes of its result; fx calls this for every node."""
        return self._see(n, super().run_node(n))


def stacked(pictures: Sequence[Pixels]) -> Tensor:
    """Stack pictures, uint8 [H, W, 3] each, to one tensor, uint8 [N, H, W, 3]."""
    return torch.from_numpy(np.stack(pictures))


def logits_of(graph: DeployGraph, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
    """Compute a graph's logits, float32 [N, C], for pictures, uint8 [H, W, 3] each."""
    with torch.inference_mode():
        parts = [
            graph(stacked(pictures[start : start + _BATCH])).numpy()
            for start in range(0, len(pictures), _BATCH)
        ]
    return np.concatenate(parts)


def module_of(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """Return the module that a node calls, or None if it calls none."""
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


def layers(traced: fx.GraphModule) -> dict[str, nn.Conv2d | nn.Linear]:
    """Return every convolution and linear layer by its node's name, in execution order."""
    return {
        node.name: module
        for node in traced.graph.nodes
        if isinstance(module := module_of(traced, node), (nn.Conv2d, nn.Linear))
    }
