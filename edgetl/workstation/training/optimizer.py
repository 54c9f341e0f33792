"""Which parameter learns how fast, and how that changes over the steps."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import lr_scheduler as schedules

from edgetl.workstation.backbones.build import Network
from edgetl.workstation.recipe import FineTune

_COLD = 1 / 25  # where a warm-up begins, as a part of the peak rate
# Epochs that the schedule "plateau" waits where the recipe does not say.
_PATIENCE = 2


def make_optimizer(
    network: Network, settings: FineTune, *, capturable: bool = False
) -> torch.optim.Optimizer:
    """The recipe's optimiser over every parameter of the network, in groups of one rate each.

    Frozen parameters are in it too: they have no gradient and stay as they are until thawed.
    `capturable`: a CUDA graph may hold its steps; see also `put_rates_on`.
    """
    groups = parameter_groups(network, settings)
    if settings.optimizer == "sgd":
        momentum = 0.9 if settings.momentum is None else settings.momentum
        return torch.optim.SGD(groups, momentum=momentum, nesterov=momentum > 0, fused=True)
    if settings.optimizer == "rmsprop":
        # Keras's smoothing: torch's own default, 0.99, takes far longer to forget the first steps.
        return torch.optim.RMSprop(
            groups, alpha=0.9, momentum=settings.momentum or 0.0, capturable=capturable
        )
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, fused=True, capturable=capturable)


def put_rates_on(device: torch.device, optimizer: torch.optim.Optimizer) -> None:
    """Keep the rates in tensors on a GPU, where a captured step reads what the schedule wrote."""
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), device=device)


def parameter_groups(network: Network, settings: FineTune) -> list[dict[str, Any]]:
    """Parameters by rate and decay.

    The head has its own rate; the backbone's falls by `layer_decay` for each block from the last
    to the first. Weight decay is for matrices and filters, never for norms and biases.
    """
    blocks = network.blocks()
    behind = {id(p): len(blocks) - i for i, block in enumerate(blocks) for p in block.parameters()}
    head = {id(p) for p in network.head_parameters()}
    groups: dict[tuple[float, float], list[Tensor]] = {}
    depth = len(blocks) + 1  # the stem, which comes before the first block
    for parameter in network.model.parameters():
        depth = behind.get(id(parameter), 0 if depth <= len(blocks) else depth)
        rate = settings.backbone_rate * settings.layer_decay**depth
        rate = settings.head_rate if id(parameter) in head else rate
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": chosen, "lr": rate, "weight_decay": decay}
        for (rate, decay), chosen in groups.items()
    ]


class Schedule:
    """Rates over a run: a warm-up, then the recipe's shape."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, settings: FineTune, steps_per_epoch: int
    ) -> None:
        self._optimizer = optimizer
        self._parts = _parts(optimizer, settings, steps_per_epoch)
        self._plateau = None
        if settings.schedule == "plateau":
            self._plateau = schedules.ReduceLROnPlateau(
                optimizer, factor=settings.drop_factor, patience=_patience(settings)
            )

    @property
    def rate(self) -> float:
        """The rate now of the parameters that learn fastest."""
        return max(float(group["lr"]) for group in self._optimizer.param_groups)

    def after_step(self) -> None:
        """Take the rates of the next step."""
        if self._parts:
            self._parts.step()

    def after_epoch(self, loss: float) -> None:
        """Tell how high the loss to watch was (on the validation part where there is one)."""
        if self._plateau:
            self._plateau.step(loss)

    def state_dict(self) -> dict[str, Any]:
        """For `load_state_dict`."""
        kept = (self._parts, self._plateau)
        return {str(i): part.state_dict() for i, part in enumerate(kept) if part}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        for i, part in enumerate((self._parts, self._plateau)):
            if part:
                part.load_state_dict(state[str(i)])


def _patience(settings: FineTune) -> int:
    return _PATIENCE if settings.patience is None else settings.patience


def _parts(
    optimizer: torch.optim.Optimizer, settings: FineTune, steps_per_epoch: int
) -> schedules.LRScheduler | None:
    total = max(1, settings.total_epochs * steps_per_epoch)
    if settings.schedule == "onecycle":
        return schedules.OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in optimizer.param_groups],
            total_steps=total + 1,
            # A warm-up of exactly one step makes OneCycleLR divide by zero.
            pct_start=max(settings.warmup, 1.5 / (total + 1)),
            cycle_momentum=False,
        )
    rising = min(round(settings.warmup * total), total - 1)
    parts: list[schedules.LRScheduler] = []
    if rising:
        parts.append(schedules.LinearLR(optimizer, _COLD, 1.0, rising))
    if settings.schedule == "cosine":
        parts.append(schedules.CosineAnnealingLR(optimizer, max(1, total - rising)))
    elif settings.schedule == "step":
        every = settings.drop_every or max(1, round(settings.total_epochs / 3))
        # Counted from the run's first step, warm-up or not.
        drops = [
            epoch * steps_per_epoch - rising
            for epoch in range(every, settings.total_epochs, every)
            if epoch * steps_per_epoch > rising
        ]
        parts.append(schedules.MultiStepLR(optimizer, drops, settings.drop_factor))
    if len(parts) == 2:
        return schedules.SequentialLR(optimizer, parts, [rising])
    return parts[0] if parts else None


class Anchor:
    """L2-SP: a pull of the backbone towards where it started.

    Li, Grandvalet & Davoine 2018, "Explicit Inductive Bias for Transfer Learning with
    Convolutional Networks". The head has no start worth returning to.
    """

    def __init__(self, network: Network, strength: float) -> None:
        head = {id(p) for p in network.head_parameters()}
        self._strength = strength
        self._parameters = [
            p for p in network.model.parameters() if id(p) not in head and p.ndim > 1
        ]
        self.start = [p.detach().clone() for p in self._parameters] if strength else []

    @torch.no_grad()
    def add_gradient(self) -> None:
        """Add the penalty's gradient, strength x (weights - start), to what backward left."""
        pulled = [
            (parameter.grad, parameter, start)
            for parameter, start in zip(self._parameters, self.start, strict=bool(self.start))
            if parameter.grad is not None
        ]
        if pulled:
            gradients, weights, starts = zip(*pulled, strict=True)
            away = torch._foreach_sub(weights, starts)
            torch._foreach_add_(gradients, away, alpha=self._strength)
