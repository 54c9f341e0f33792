"""What brings two domains together: a distance of covariances, and a reversed gradient."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

_HIDDEN = 256


def coral(source: Tensor, target: Tensor) -> Tensor:
    """The CORAL loss: how far the covariances of two batches are apart, float32 [].

    The squared Frobenius norm of their difference, divided by 4 d^2 (Sun & Saenko 2016, "Deep
    CORAL: Correlation Alignment for Deep Domain Adaptation").

    Args:
        source, target: float [N, d] and float [M, d], N and M at least 2.
    """
    difference = torch.cov(source.float().T) - torch.cov(target.float().T)
    return difference.square().sum() / (4 * source.shape[1] ** 2)


class _Reversal(torch.autograd.Function):
    """Passes values on, and gradients with the opposite sign times a factor."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (factor,) = ctx.saved_tensors
        return -factor * gradient, None


def reverse_gradient(features: Tensor, factor: Tensor) -> Tensor:
    """The same features, whose gradients are multiplied by minus `factor`, float [].

    Ganin et al. 2016, "Domain-Adversarial Training of Neural Networks", section 4.2.
    """
    reversed_: Tensor = _Reversal.apply(features, factor)
    return reversed_


class DomainClassifier(nn.Module):
    """Tells the features of two domains apart: one logit, above 0 for the source."""

    def __init__(self, width: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(nn.Linear(width, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 1))

    def loss(self, source: Tensor, target: Tensor) -> Tensor:
        """The mean binary cross-entropy of float [N, width] and float [M, width], float32 []."""
        from_source, from_target = self.layers(source.float()), self.layers(target.float())
        return (F.softplus(-from_source).mean() + F.softplus(from_target).mean()) / 2
