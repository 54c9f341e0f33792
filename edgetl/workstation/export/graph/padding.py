"""Replaces padding that depends on the picture's size by padding for one fixed size."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from timm.layers import Conv2dSame
from timm.layers.padding import pad_same_arg
from torch import Tensor, fx, nn

from edgetl.workstation.export.graph.shapes import maps_read, modules_of_kind


class ZeroPad(nn.Module):
    """Pads float [N, C, H, W] with zeros: columns left and right, rows at the top and bottom."""

    def __init__(self, left: int, right: int, top: int, bottom: int) -> None:
        super().__init__()
        self.sides = (left, right, top, bottom)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the padded maps, float [N, C, top + H + bottom, left + W + right]."""
        padded: Tensor = _Pad.apply(maps, self.sides)
        return padded


# Part of the names of tensors in TFLite files, as in `DeployGraph`.
ZeroPad.__module__ = "edgetl.export.padding"


class _Pad(torch.autograd.Function):
    """Exported to ONNX as one node, where `F.pad` becomes a dozen that compute its constants."""

    @staticmethod
    def forward(maps: Tensor, sides: tuple[int, int, int, int]) -> Tensor:
        return F.pad(maps, sides)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.sides = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return F.pad(gradient, [-side for side in ctx.sides]), None

    @staticmethod
    def symbolic(g: Any, maps: Any, sides: tuple[int, int, int, int]) -> Any:
        left, right, top, bottom = sides
        begins_and_ends = torch.tensor([0, 0, top, left, 0, 0, bottom, right])
        return g.op("Pad", maps, g.op("Constant", value_t=begins_and_ends), mode_s="constant")


def write_out_padding(traced: fx.GraphModule, size: tuple[int, int]) -> None:
    """Replace, in place, convolutions with TensorFlow's "SAME" padding by ones with fixed padding.

    "SAME" pads so that a stride of s leaves 1/s of each side, rounded up. If the number of rows or
    columns to add is odd, the extra one goes to the bottom or right, as networks trained with
    TensorFlow require.

    Args:
        traced: takes float32 [1, 3, H, W].
        size: H and W of the input.
    """
    convs = modules_of_kind(traced, Conv2dSame)
    read = maps_read(traced, size, convs)
    for node, conv in convs.items():
        left, right, top, bottom = pad_same_arg(
            list(read[node]), list(conv.kernel_size), list(conv.stride), list(conv.dilation)
        )
        even = left == right and top == bottom
        traced.set_submodule(str(node.target), _plain(conv, (top, left) if even else (0, 0)))
        if not even:
            name = f"{node.target}_pad"
            traced.add_submodule(name, ZeroPad(left, right, top, bottom))
            with traced.graph.inserting_before(node):
                node.args = (traced.graph.call_module(name, node.args),)
    traced.recompile()


def _plain(conv: nn.Conv2d, padding: tuple[int, int]) -> nn.Conv2d:
    """Return a plain `nn.Conv2d` with the same weights and the given (rows, columns) of padding."""
    plain: nn.Conv2d = nn.utils.skip_init(
        nn.Conv2d,
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        stride=conv.stride,
        padding=padding,
        dilation=conv.dilation,
        groups=conv.groups,
        bias=conv.bias is not None,
    )
    plain.weight, plain.bias = conv.weight, conv.bias
    return plain
