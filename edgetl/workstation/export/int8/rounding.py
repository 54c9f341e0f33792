"""Rounds weights so that the outputs of layers change little, rather than single weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.graph.nodes import layers, stacked
from edgetl.workstation.export.int8.constraints import FULL_STEPS

PICTURES = 128
_POSITIONS = 128
_BATCH = 8
_BLOCK = 128
_DAMPING = 0.01


class _Moments:
    """Sums over a convolution's inputs: x x' [groups, taps, taps], x [groups, taps], and count."""

    def __init__(self) -> None:
        self.square = self.total = torch.zeros(())
        self.count = 0

    def add(self, inputs: Tensor) -> None:
        """Add float32 [groups, taps, samples]."""
        self.square = self.square + inputs @ inputs.mT
        self.total = self.total + inputs.sum(2)
        self.count += inputs.shape[2]


def round_weights(
    graph: DeployGraph, calibration: Sequence[Pixels], steps: int = FULL_STEPS
) -> DeployGraph:
    """Copy a graph with every layer's weights rounded to int8 steps of their own.

    Each output channel's weights become whole multiples of max|w| / steps, and the largest one
    does not change, so that a symmetric per-channel quantizer with as many steps finds these same
    steps again and rounds nothing further.

    A convolution's rounding errors are compensated by the weights that are not rounded yet, such
    that its output on the calibration pictures changes least; the remaining mean error is
    corrected in the bias. Linear layers, dilated convolutions and those with too few samples are
    rounded to the nearest step.

    Source: Frantar et al. 2022, GPTQ (https://arxiv.org/abs/2210.17323), and for the bias Nagel et
    al. 2019, section 4.2 (https://arxiv.org/abs/1906.04721).

    Args:
        graph: maps uint8 [N, H, W, 3] to logits; batch norms must be folded already.
        calibration: uint8 [H, W, 3] pictures; the first `PICTURES` are used.
        steps: the number of steps on either side of zero.
    """
    graph = copy.deepcopy(graph)
    with torch.inference_mode():
        moments = _observe(graph, calibration[:PICTURES])
        for layer in layers(graph.backbone).values():
            seen = moments.get(layer)
            if seen is not None and seen.count >= seen.total.shape[-1]:
                _round(layer, seen, steps)
            else:
                layer.weight.copy_(nearest_steps(layer.weight, steps))
    return graph


def nearest_steps(weight: Tensor, steps: int = FULL_STEPS) -> Tensor:
    """Round weights [out, ...] to whole multiples of each output channel's max|w| / steps."""
    step = weight_step(weight, steps).view(-1, *[1] * (weight.dim() - 1))
    return (weight / step).round() * step


def weight_step(weight: Tensor, steps: int = FULL_STEPS) -> Tensor:
    """Return the int8 step of each output channel's weights: float32 [out], above 0."""
    return (weight.flatten(1).abs().amax(1) / steps).clamp_min(1e-30)


def _observe(graph: DeployGraph, pictures: Sequence[Pixels]) -> dict[nn.Module, _Moments]:
    convs = [m for m in graph.modules() if type(m) is nn.Conv2d and _is_plain(m)]
    moments: dict[nn.Module, _Moments] = {conv: _Moments() for conv in convs}
    generator = torch.Generator().manual_seed(0)
    hooks = [
        conv.register_forward_pre_hook(_collector(conv, moments[conv], generator)) for conv in convs
    ]
    for start in range(0, len(pictures), _BATCH):
        graph(stacked(pictures[start : start + _BATCH]))
    for hook in hooks:
        hook.remove()
    return moments


def _is_plain(conv: nn.Conv2d) -> bool:
    return conv.dilation == (1, 1) and conv.padding_mode == "zeros" and conv.padding != "same"


def _collector(
    conv: nn.Conv2d, moments: _Moments, generator: torch.Generator
) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def collect(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        moments.add(_patches(conv, inputs[0], generator))

    return collect


def _patches(conv: nn.Conv2d, inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Return the inputs of the kernel at random positions, float32 [groups, taps, samples]."""
    (rows, columns), (down, right) = conv.kernel_size, conv.stride
    pad = (0, 0) if isinstance(conv.padding, str) else conv.padding
    padded = functional.pad(inputs, (pad[1], pad[1], pad[0], pad[0]))
    windows = padded.unfold(2, rows, down).unfold(3, columns, right)
    height, width = windows.shape[2:4]
    places = torch.randperm(height * width, generator=generator)[:_POSITIONS]
    seen = windows[:, :, places // width, places % width]  # [N, C, places, rows, columns]
    seen = seen.permute(1, 3, 4, 0, 2).reshape(conv.groups, -1, len(inputs) * len(places))
    return seen.float()


def _round(conv: nn.Conv2d | nn.Linear, seen: _Moments, steps: int) -> None:
    groups, taps = seen.total.shape
    weights = conv.weight.reshape(groups, -1, taps)
    rounded = _compensated(weights.mT, seen.square / seen.count, steps).mT
    if conv.bias is not None:
        mean = (seen.total / seen.count).unsqueeze(2)
        conv.bias += ((weights - rounded) @ mean).flatten()
    conv.weight.copy_(rounded.reshape(conv.weight.shape))


def _compensated(weights: Tensor, square: Tensor, steps: int) -> Tensor:
    """Round weights [groups, taps, rows] by GPTQ, given the inputs' second moments `square`."""
    largest = weights.abs().amax(1, keepdim=True)
    step = (largest / steps).clamp_min(1e-30)
    spread = square.diagonal(dim1=1, dim2=2)
    order = spread.argsort(1, descending=True)
    by_tap = order.unsqueeze(2).expand_as(weights)
    factor = _upper_factor(square, spread, order)
    left = weights.gather(1, by_tap)
    original = left.clone()
    rounded = torch.empty_like(left)
    for start in range(0, left.shape[1], _BLOCK):
        stop = min(start + _BLOCK, left.shape[1])
        errors = torch.empty_like(left[:, start:stop])
        for tap in range(start, stop):
            nearest = (left[:, tap] / step[:, 0]).round().clamp(-steps, steps) * step[:, 0]
            # The largest weight defines the scale and must not change.
            stays = original[:, tap].abs() == largest[:, 0]
            rounded[:, tap] = torch.where(stays, original[:, tap], nearest)
            error = (left[:, tap] - rounded[:, tap]) / factor[:, tap, tap, None]
            left[:, tap:stop] -= factor[:, tap, tap:stop, None] * error.unsqueeze(1)
            errors[:, tap - start] = error
        left[:, stop:] -= factor[:, start:stop, stop:].mT @ errors
    return torch.empty_like(rounded).scatter_(1, by_tap, rounded)


def _upper_factor(square: Tensor, spread: Tensor, order: Tensor) -> Tensor:
    """Return the upper Cholesky factor of the inverse of the damped, reordered moments."""
    damping = _DAMPING * spread.mean(1, keepdim=True) + 1e-8
    damped = square + torch.diag_embed(damping.expand_as(spread))
    damped = damped.gather(1, order.unsqueeze(2).expand_as(damped))
    damped = damped.gather(2, order.unsqueeze(1).expand_as(damped))
    lower = torch.linalg.cholesky(damped)
    factor: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)
    return factor
