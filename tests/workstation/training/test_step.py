"""A step is a function of tensors alone: what a CUDA graph can hold."""

from collections.abc import Sequence
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from edgetl.workstation.backbones.build import build_network  # noqa: E402
from edgetl.workstation.backbones.catalogue import find_backbone  # noqa: E402
from edgetl.workstation.training.batches import StepInputs  # noqa: E402
from edgetl.workstation.training.optimizer import put_rates_on  # noqa: E402
from tests.workstation.training.tiny import made, recipe, same, tiny_network, trainer, weights  # noqa: E402

FAST = ("finetune.backbone_rate=2e-2", "finetune.head_rate=2e-2", "finetune.ema=0.9")
CPU = torch.device("cpu")
# They read a number on the host, or copy one from it: a graph can do neither.
HOST = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.lift_fresh.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
}


class HostSeen(TorchDispatchMode):
    """Notes every operation that needs the host."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func in HOST:
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


class TensorsRead(TorchDispatchMode):
    """Notes where the tensors lie that a step reads or writes and did not make itself."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: set[int] = set()
        self._made: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        taken = {place(t) for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        self.outside |= taken - self._made
        result = func(*args, **(kwargs or {}))
        given = {place(t) for t in tree_leaves(result) if isinstance(t, torch.Tensor)}
        self._made |= given - self.outside
        return result


def place(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def host_operations(it) -> list[str]:
    """What a step of a trainer needs the host for, its second one: the first makes state."""
    put_rates_on(CPU, it._optimizer)
    first, second = it._begin(0)[:2]
    it.step(first)
    inputs = it.machine.batches.inputs(second)
    with HostSeen() as mode:
        it.machine.step.take(inputs)
    return mode.seen


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("augment.mixup=0.2", "augment.cutmix=1.0", "augment.erase=0.5"),
        ("augment=strong",),
        ("augment.flip=any", "finetune.l2sp=0.1", "finetune.imbalance=weights"),
        ("finetune.optimizer=adam", "finetune.schedule=cosine"),
        ("finetune.optimizer=sgd", "finetune.schedule=step"),
        ("finetune.trainable_blocks=1",),
        ("finetune.norms=frozen",),
        ("finetune.imbalance=logit-adjustment", "finetune.clip_norm=0"),
        ("precision=bf16",),
    ],
)
def test_a_step_never_needs_the_host(more: tuple[str, ...]) -> None:
    assert host_operations(trainer(recipe(*FAST, *more))) == []


@pytest.mark.parametrize(
    "name", ["mobilenet_v2", "efficientnet_lite0", "googlenet", "mobilenet_v3_small", "resnet18"]
)
def test_steps_of_the_catalogues_networks_never_need_the_host(name: str) -> None:
    network = build_network(find_backbone(name), 3, auxiliary=name == "googlenet")
    wanted = recipe("finetune.batch=2", "finetune.ema=0.9")
    it = trainer(wanted, network, train=made(4, 64), size_px=64)
    assert host_operations(it) == []


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("augment=strong", "augment.flip=any"),
        ("finetune.optimizer=sgd", "finetune.l2sp=0.1", "finetune.imbalance=weights"),
        ("finetune.trainable_blocks=1",),
        ("finetune.schedule=step", "finetune.drop_every=1"),
        ("finetune.schedule=plateau",),
    ],
)
def test_a_step_reads_the_same_tensors_in_every_epoch(more: tuple[str, ...]) -> None:
    """A replayed graph reads where its tensors lay: they must still be there, epochs later."""
    it = trainer(recipe(*FAST, "finetune.epochs=4", *more))
    put_rates_on(CPU, it._optimizer)
    read: list[set[int]] = []
    fixed: StepInputs | None = None
    for epoch in range(4):
        first, second = it._begin(epoch)[:2]
        it.step(first)
        it._average.before_step()
        inputs = it.machine.batches.inputs(second)
        fixed = fixed or StepInputs(*(tensor.clone() for tensor in inputs))
        for own, given in zip(fixed, inputs, strict=True):
            own.copy_(given)
        with TensorsRead() as mode:
            it.machine.step.take(fixed)
        it._schedule.after_step()
        it._schedule.after_epoch(1.0)
        read.append(mode.outside)
    assert len(read[0]) > 20
    assert all(places == read[0] for places in read)


def test_a_look_at_a_number_would_be_noticed() -> None:
    it = trainer(recipe(*FAST))
    objective = it._loss._objective

    def looking(logits, targets):
        loss = objective(logits, targets)
        return loss if float(loss.detach()) > 0 else loss * 2

    it._loss._objective = looking
    assert host_operations(it) == ["aten._local_scalar_dense.default"]


@pytest.mark.parametrize("more", [(), ("augment.mixup=0.2",), ("finetune.optimizer=sgd",)])
def test_steps_that_read_fixed_tensors_train_the_same_weights(more: tuple[str, ...]) -> None:
    """As a replayed graph does: the same tensors each time, with other numbers in them."""
    wanted = recipe(*FAST, "finetune.epochs=3", *more)
    plain, fixed = trainer(wanted), trainer(wanted, tiny_network())
    for it in (plain, fixed):
        held: StepInputs | None = None
        for epoch in range(3):
            for part in it._begin(epoch):
                it._average.before_step()
                inputs = it.machine.batches.inputs(part)
                if it is fixed:
                    held = held or StepInputs(*(tensor.clone() for tensor in inputs))
                    for own, given in zip(held, inputs, strict=True):
                        own.copy_(given)
                    inputs = held
                it.machine.step.take(inputs)
                it._schedule.after_step()
    assert same(weights(plain.network), weights(fixed.network))
    assert same(weights(plain.averaged), weights(fixed.averaged))
