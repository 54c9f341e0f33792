"""A faster backward pass for strided depthwise convolutions in bfloat16 on CPUs.

oneDNN has no fast input gradient for them in bfloat16: at 96 channels and 80 x 80 it takes 20 to 60
times as long as the forward pass (in float32 it is fast). The same gradient is a stride-1
convolution of the output's gradient, with zeros inserted, by the flipped kernel (Dumoulin & Visin
2016, "A guide to convolution arithmetic", section 4), and that runs as fast as a forward pass.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from timm.layers import Conv2dSame, pad_same
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight


class _StridedDepthwise(torch.autograd.Function):
    """Depthwise convolution whose input gradient is computed as a forward convolution."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = (stride, padding)
        return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding = ctx.geometry
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_x = _input_gradient(x, weight, grads[0], stride, padding) if needs_x else None
        grad_weight = None
        if needs_weight:
            grad_weight = conv2d_weight(
                x, weight.shape, grads[0], stride, padding, groups=len(weight)
            )
        grad_bias = grads[0].sum((0, 2, 3)) if needs_bias else None
        return grad_x, grad_weight, grad_bias, None, None


def _input_gradient(x: Tensor, weight: Tensor, grad: Tensor, stride: int, padding: int) -> Tensor:
    kernel = weight.shape[-1]
    # Border pixels that no output depends on still need their (zero) gradient.
    height, width = (side - kernel + 2 * padding + 1 for side in x.shape[2:])
    spread = torch.zeros(
        (*grad.shape[:2], height, width), dtype=grad.dtype, device=grad.device
    ).contiguous(memory_format=torch.channels_last)
    spread[:, :, ::stride, ::stride] = grad
    return F.conv2d(spread, weight.flip(2, 3), padding=kernel - 1 - padding, groups=len(weight))


def has_slow_gradient(conv: nn.Conv2d) -> bool:
    """Whether `depthwise_conv` differentiates this convolution faster in bfloat16."""
    return (
        conv.groups == conv.in_channels == conv.out_channels
        and conv.stride[0] == conv.stride[1] > 1
        and isinstance(conv.padding, tuple)
        and conv.padding[0] == conv.padding[1] < conv.kernel_size[0] == conv.kernel_size[1]
        and conv.dilation == (1, 1)
        and conv.padding_mode == "zeros"
    )


def run_conv(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Apply a convolution to float [N, C, H, W], with the given weights instead of its own."""
    if isinstance(conv, Conv2dSame):
        x = pad_same(x, list(conv.kernel_size), list(conv.stride), list(conv.dilation))
    in_bfloat16 = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    if in_bfloat16 and has_slow_gradient(conv):
        return depthwise_conv(x, weight, bias, conv.stride[0], int(conv.padding[0]))
    return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def depthwise_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int
) -> Tensor:
    """Depthwise convolution of float [N, C, H, W] by [C, 1, K, K], with K above the padding."""
    if torch.is_autocast_enabled("cpu"):  # autocast does not apply to custom functions
        dtype = torch.get_autocast_dtype("cpu")
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    out: Tensor = _StridedDepthwise.apply(x, weight, bias, stride, padding)
    return out
