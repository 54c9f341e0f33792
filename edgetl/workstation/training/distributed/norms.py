"""Batch norm over the pictures of all processes, so that a step is that of one process."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgetl.workstation.training.distributed.ranks import Ranks
from edgetl.workstation.training.forward_patches import ForwardPatches, apply_rest_of_norm


def share_batch_norm(model: nn.Module, ranks: Ranks) -> None:
    """Have every batch norm in training mode normalise by the pictures of all processes.

    Nothing changes for one process, or in eval mode.
    """
    if not ranks.several:
        return
    patches = ForwardPatches()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            patches.replace(module, _shared_norm)


def _shared_norm(norm: Any, x: Tensor) -> Tensor:
    if not norm.training:
        plain: Tensor = type(norm).forward(norm, x)
        return plain
    norm.num_batches_tracked.add_(1)
    momentum = norm.momentum
    if momentum is None:  # the plain average of all batches so far
        momentum = 1.0 / float(norm.num_batches_tracked)
    normalise = _fused if x.is_cuda else normalise_together
    return apply_rest_of_norm(norm, normalise(norm, x, momentum))


def normalise_together(norm: Any, x: Tensor, momentum: float) -> Tensor:
    """Normalise a batch [N, C, ...] by the mean and variance over all processes' batches.

    Differentiable: sums are added up over the processes in the forward pass, and so are their
    gradients in the backward pass. Updates the running statistics.
    """
    dims = [0, *range(2, x.ndim)]
    shape = [1, -1] + [1] * (x.ndim - 2)
    wide = x if x.dtype == torch.float64 else x.float()
    count = torch.full((1,), x.numel() / x.shape[1], dtype=wide.dtype, device=x.device)
    # Two exchanges instead of a sum of squares, which loses digits where the mean is large.
    summed = _SumOverRanks.apply(torch.cat([wide.sum(dims), count]))
    count = summed[-1].detach()
    mean = summed[:-1] / count
    centred = wide - mean.view(shape)
    variance = _SumOverRanks.apply(centred.square().sum(dims)) / count
    with torch.no_grad():
        unbiased = variance * (count / (count - 1))
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
        norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), momentum)
    scale = torch.rsqrt(variance + norm.eps)
    if norm.affine:
        scale = scale * norm.weight
    out = centred * scale.view(shape)
    if norm.affine:
        out = out + norm.bias.view(shape)
    result: Tensor = out.to(x.dtype)
    return result


def _fused(norm: Any, x: Tensor, momentum: float) -> Tensor:
    """The same by the CUDA kernels of torch.nn.SyncBatchNorm.

    The module itself is not used: putting it in would drop the activation that timm's norms hold.
    """
    from torch.nn.modules._functions import SyncBatchNorm

    group = dist.group.WORLD
    assert group is not None  # there are several processes
    fused: Tensor = SyncBatchNorm.apply(
        x, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps, momentum, group,
        dist.get_world_size(group),
    )  # fmt: skip
    return fused


class _SumOverRanks(torch.autograd.Function):
    """A sum over the processes, whose gradient is the sum of their gradients."""

    @staticmethod
    def forward(_context: Any, values: Tensor) -> Tensor:
        summed = values.clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous().clone()
        dist.all_reduce(summed)
        return summed
