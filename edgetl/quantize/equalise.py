"""Evening out the channels that depthwise convolutions read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

_CEILING = 6.0
_LARGEST_FACTOR = 64.0


def equalise_channels(graph: nn.Module, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Scale, in place, each channel between a convolution and a depthwise one to fill 0..6.

    Where a convolution, ReLU6 and a depthwise convolution follow each other, a channel can be
    scaled up before and down after at no cost: both convolutions have a weight scale per channel.
    Eight bits then serve every channel as if it had a range of its own, which ONNX and TFLite have
    no way to say. A channel is scaled until its largest value on the pictures is 6, so ReLU6 cuts
    off what exceeds that value, as any range chosen by calibration would.

    Source: Nagel et al. 2019, section 4.1 (https://arxiv.org/abs/1906.04721), with activations
    in place of weight ranges.

    Args:
        graph: maps uint8 [N, H, W, 3] to logits; batch norms must be folded already.
        pictures: uint8 [1, H, W, 3] each.
    """
    chains = _chains(graph)
    peaks: dict[nn.Conv2d, Tensor] = {}

    def note(depthwise: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(depthwise, nn.Conv2d)
        seen = inputs[0].amax((0, 2, 3))
        peaks[depthwise] = torch.maximum(peaks.get(depthwise, seen), seen)

    hooks = [depthwise.register_forward_pre_hook(note) for _, depthwise in chains]
    for picture in pictures:
        graph(torch.from_numpy(picture.copy()))  # decoded pixels are read-only
    for hook in hooks:
        hook.remove()
    for conv, depthwise in chains:
        factor = (_CEILING / peaks[depthwise].clamp_min(1e-6)).clamp(1.0, _LARGEST_FACTOR)
        factor = torch.where(peaks[depthwise] > 0, factor, torch.ones_like(factor))
        conv.weight *= factor.view(-1, 1, 1, 1)
        if conv.bias is not None:
            conv.bias *= factor
        depthwise.weight /= factor.view(-1, 1, 1, 1)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d) or super().is_leaf_module(m, module_qualified_name)


def _chains(graph: nn.Module) -> list[tuple[nn.Conv2d, nn.Conv2d]]:
    """Every (convolution, depthwise convolution) with only a ReLU6 between."""
    found = []
    for node in _Tracer().trace(graph).nodes:
        depthwise = _module(graph, node)
        if not isinstance(depthwise, nn.Conv2d) or depthwise.groups != depthwise.out_channels:
            continue
        activation = node.all_input_nodes[0]
        if not isinstance(_module(graph, activation), nn.ReLU6) or len(activation.users) != 1:
            continue
        source = activation.all_input_nodes[0]
        conv = _module(graph, source)
        if isinstance(conv, nn.Conv2d) and len(source.users) == 1:
            found.append((conv, depthwise))
    return found


def _module(graph: nn.Module, node: fx.Node) -> nn.Module | None:
    return graph.get_submodule(str(node.target)) if node.op == "call_module" else None
