"""Adding up the gradients of all processes."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from edgetl.workstation.training.distributed.ranks import Ranks


def add_up_gradients(parameters: Iterable[nn.Parameter], loss: Tensor, ranks: Ranks) -> Tensor:
    """Replace gradients by their sums over the processes; returns the sum of the losses.

    The gradients and the loss, float32 [], are sent as one tensor for each dtype.
    """
    if not ranks.several:
        return loss
    loss = loss.clone()
    by_dtype: dict[torch.dtype, list[Tensor]] = {loss.dtype: [loss]}
    for parameter in parameters:
        if parameter.grad is not None:
            by_dtype.setdefault(parameter.grad.dtype, []).append(parameter.grad)
    for tensors in by_dtype.values():
        flat = _flatten_dense_tensors(tensors)
        ranks.add_up(flat)
        torch._foreach_copy_(tensors, list(_unflatten_dense_tensors(flat, tensors)))
    return loss
