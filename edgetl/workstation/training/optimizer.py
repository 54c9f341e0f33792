"""Optimisers, the learning rate of each parameter, and how rates change over the steps."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import lr_scheduler as schedules

from edgetl.workstation.backbones.build import Network
from edgetl.workstation.recipe import FineTune

_COLD = 1 / 25  # where a warm-up begins, as a fraction of the peak rate
# The patience, in epochs, of the schedule "plateau" if the recipe sets none.
_PATIENCE = 2


def make_optimizer(
    network: Network, settings: FineTune, *, capturable: bool = False
) -> torch.optim.Optimizer:
    """The recipe's optimiser over all parameters of the network, grouped by rate and decay.

    Frozen parameters are included: they have no gradient and do not change until unfrozen.
    `capturable`: its steps can be captured in a CUDA graph; see also `put_rates_on`.
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
    """Store the rates in tensors on a GPU, so that a captured step reads the scheduled values."""
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), device=device)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Continue from an optimiser's state, whether or not the earlier steps were captured."""
    saved = []
    for group, own in zip(state["param_groups"], optimizer.param_groups, strict=True):
        rate = float(group["lr"])
        is_tensor = isinstance(own["lr"], Tensor)
        changed = {"lr": torch.full_like(own["lr"], rate) if is_tensor else rate}
        if "capturable" in own:
            changed["capturable"] = own["capturable"]
        saved.append({**group, **changed})
    optimizer.load_state_dict({**state, "param_groups": saved})


def parameter_groups(network: Network, settings: FineTune) -> list[dict[str, Any]]:
    """Group the parameters by learning rate and weight decay.

    The head has its own rate; the backbone's is multiplied by `layer_decay` for each block from
    the last to the first. Weight decay applies to matrices and filters, not to norms and biases.
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
    """Learning rates over a run: a warm-up, then the recipe's schedule."""

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
        """The highest current learning rate of any parameter."""
        return max(float(group["lr"]) for group in self._optimizer.param_groups)

    def after_step(self) -> None:
        """Set the rates of the next step."""
        if self._parts:
            self._parts.step()

    def after_epoch(self, loss: float) -> None:
        """Pass the loss that "plateau" watches: of the validation part if there is one."""
        if self._plateau:
            self._plateau.step(loss)

    def state_dict(self) -> dict[str, Any]:
        """The state for `load_state_dict`."""
        parts = (self._parts, self._plateau)
        return {str(i): part.state_dict() for i, part in enumerate(parts) if part}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a result of `state_dict`."""
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
    """L2-SP: an L2 penalty that pulls the backbone towards its initial weights.

    Li, Grandvalet & Davoine 2018, "Explicit Inductive Bias for Transfer Learning with
    Convolutional Networks". The head is left out: it has no pretrained weights.
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
        """Add the penalty's gradient, strength x (weights - start), to the gradients."""
        pulled = [
            (parameter.grad, parameter, start)
            for parameter, start in zip(self._parameters, self.start, strict=bool(self.start))
            if parameter.grad is not None
        ]
        if pulled:
            gradients, weights, starts = zip(*pulled, strict=True)
            away = torch._foreach_sub(weights, starts)
            torch._foreach_add_(gradients, away, alpha=self._strength)
