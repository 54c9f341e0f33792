"""The exponential moving average of a network's weights and norms' statistics."""

import copy
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """A copy of a network that follows it (Polyak & Juditsky 1992; Tarvainen & Valpola 2017).

    The decay is 0 in the first step and rises as (1 + n) / (10 + n) to `decay`, so that the
    average forgets the start of a short run.

    Attributes:
        model: the averaged network.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._decay, self._steps = decay, 0
        pairs = list(zip(_tensors(self.model), _tensors(model), strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        counts = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._floats = [mine for mine, _ in floats], [live for _, live in floats]
        self._counts = [mine for mine, _ in counts], [live for _, live in counts]
        # On the device, so that a captured step reads each step's own value.
        self._rate = torch.zeros((), device=floats[0][0].device)

    def restart(self, model: nn.Module) -> None:
        """Set the average to the network's current weights."""
        self.model.load_state_dict(model.state_dict())

    def before_step(self) -> None:
        """Set the weight of the coming step in the average."""
        rising = (1 + self._steps) / (10 + self._steps) if self._steps else 0.0
        self._rate.fill_(1 - min(self._decay, rising))
        self._steps += 1

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the network, with a few kernels for all tensors."""
        mine, live = self._floats
        towards = torch._foreach_sub(live, mine)
        torch._foreach_mul_(towards, self._rate)
        torch._foreach_add_(mine, towards)
        if self._counts[0]:
            torch._foreach_copy_(*self._counts)

    def state_dict(self) -> dict[str, Any]:
        """The state for `load_state_dict`."""
        return {"model": self.model.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a result of `state_dict`."""
        self.model.load_state_dict(state["model"])
        self._steps = int(state["steps"])


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
