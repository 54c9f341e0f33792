"""Replacing the `forward` of modules by a faster function with the same result, and undoing it.

The saved weights and the outputs of a network do not change. A deep copy of a patched network runs
its own modules.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from edgetl.workstation.backbones.conv_norm_pairs import conv_and_norm, has_batch_norm, trace
from edgetl.workstation.training.depthwise_backward import has_slow_gradient, run_conv


class ForwardPatches:
    """Replaces `forward` functions, and restores the previous ones."""

    def __init__(self) -> None:
        self._before: list[tuple[nn.Module, Callable[..., Any] | None]] = []

    def replace(self, module: nn.Module, forward: Callable[..., Any]) -> None:
        """Replace a module's `forward`, or an earlier patch of it."""
        self._before.append((module, module.__dict__.get("forward")))
        module.__dict__["forward"] = partial(forward, module)

    def undo(self) -> None:
        """Restore the previous `forward` functions."""
        while self._before:
            module, before = self._before.pop()
            module.__dict__.pop("forward", None)
            if before is not None:
                module.__dict__["forward"] = before


def speed_up_depthwise(model: nn.Module) -> ForwardPatches:
    """Give a network's strided depthwise convolutions the faster backward pass on CPUs."""
    patches = ForwardPatches()
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.bias is None and has_slow_gradient(module):
            patches.replace(module, _fast_depthwise)
    return patches


def fold_batch_norm(model: nn.Module) -> ForwardPatches:
    """Run each convolution of a network together with the norm that follows it.

    Only for networks whose norms all stay in inference mode. Such a norm is a scale and a shift for
    each channel, and a convolution with scaled weights and the shift as its bias is the same
    function (Jacob et al. 2018, section 3.2). Weights, scales and shifts are still trained: the
    scaled weights are computed anew in every step, which costs next to nothing, while a separate
    norm reads and writes every activation several times.
    """
    patches = ForwardPatches()
    if not has_batch_norm(model):  # a network that cannot be traced may run, too
        return patches
    was_training = model.training
    model.eval()
    for node in trace(model).nodes:
        pair = conv_and_norm(model, node)
        if pair:
            conv, norm = pair
            patches.replace(conv, partial(_scaled_conv, norm=norm))
            patches.replace(norm, apply_rest_of_norm)
    model.train(was_training)
    return patches


@contextmanager
def folded_batch_norm(model: nn.Module) -> Iterator[None]:
    """`fold_batch_norm` within a `with` block, for inference: 1.5 to 2 times as fast on a CPU."""
    patches = fold_batch_norm(model)
    try:
        yield
    finally:
        patches.undo()


def _fast_depthwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    return run_conv(conv, x, conv.weight, None)


def _scaled_conv(conv: nn.Conv2d, x: Tensor, *, norm: Any) -> Tensor:
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    weight = conv.weight * scale.view(-1, 1, 1, 1)
    before = norm.running_mean if conv.bias is None else norm.running_mean - conv.bias
    bias = norm.bias - before * scale
    return run_conv(conv, x, weight, bias)


def apply_rest_of_norm(norm: nn.Module, x: Tensor) -> Tensor:
    """Run only the dropout and activation that timm's norm modules contain."""
    for name in ("drop", "act"):
        part = getattr(norm, name, None)
        x = part(x) if isinstance(part, nn.Module) else x
    return x
