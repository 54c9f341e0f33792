"""Equalization of the ranges of the channels that depthwise convolutions read."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.graph.nodes import logits_of, module_of
from edgetl.workstation.export.graph.padding import ZeroPad

PICTURES = 128
_CEILING = 6.0
_LARGEST_FACTOR = 64.0


def equalize_channels(graph: DeployGraph, pictures: Sequence[Pixels]) -> DeployGraph:
    """Copy a graph with each channel between a convolution and a depthwise one scaled up to 0..6.

    Where a convolution, ReLU6 and a depthwise convolution follow each other, a channel can be
    scaled up before and down after at no cost: both convolutions have a weight scale per channel.
    Eight bits then resolve every channel as if it had a range of its own, which ONNX and TFLite
    cannot express. A channel is scaled until its largest value on the pictures is 6, by a factor of
    64 at most, so ReLU6 cuts off larger values, as any range chosen by calibration would.

    Source: Nagel et al. 2019, section 4.1 (https://arxiv.org/abs/1906.04721), with activations
    in place of weight ranges.

    Args:
        graph: its batch norms must be folded already.
        pictures: uint8 [H, W, 3] each; the first `PICTURES` are used.
    """
    graph = copy.deepcopy(graph)
    chains = _chains(graph.backbone)
    peaks: dict[nn.Conv2d, Tensor] = {}

    def record_peaks(depthwise: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(depthwise, nn.Conv2d)
        seen = inputs[0].amax((0, 2, 3))
        peaks[depthwise] = torch.maximum(peaks.get(depthwise, seen), seen)

    hooks = [depthwise.register_forward_pre_hook(record_peaks) for _, depthwise in chains]
    logits_of(graph, pictures[:PICTURES])
    for hook in hooks:
        hook.remove()
    with torch.inference_mode():
        for conv, depthwise in chains:
            _scale(conv, depthwise, peaks[depthwise])
    return graph


def _scale(conv: nn.Conv2d, depthwise: nn.Conv2d, peaks: Tensor) -> None:
    factor = (_CEILING / peaks.clamp_min(1e-6)).clamp(1.0, _LARGEST_FACTOR)
    factor = torch.where(peaks > 0, factor, torch.ones_like(factor))
    conv.weight *= factor.view(-1, 1, 1, 1)
    if conv.bias is not None:
        conv.bias *= factor
    depthwise.weight /= factor.view(-1, 1, 1, 1)


def _chains(traced: fx.GraphModule) -> list[tuple[nn.Conv2d, nn.Conv2d]]:
    """Find every (convolution, depthwise convolution) with only a ReLU6 and padding between."""
    chains = []
    for node in traced.graph.nodes:
        depthwise = module_of(traced, node)
        if not isinstance(depthwise, nn.Conv2d) or depthwise.groups != depthwise.out_channels:
            continue
        activation = _behind_padding(traced, node.all_input_nodes[0])
        if not isinstance(module_of(traced, activation), nn.ReLU6) or len(activation.users) != 1:
            continue
        source = activation.all_input_nodes[0]
        conv = module_of(traced, source)
        if isinstance(conv, nn.Conv2d) and len(source.users) == 1:
            chains.append((conv, depthwise))
    return chains


def _behind_padding(traced: fx.GraphModule, node: fx.Node) -> fx.Node:
    """Return the input of a padding node, or the node itself if it is no padding."""
    pads = isinstance(module_of(traced, node), ZeroPad)
    return node.all_input_nodes[0] if pads and len(node.users) == 1 else node
