import copy
import math

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from edgetl.workstation.backbones.build import build_network  # noqa: E402
from edgetl.workstation.backbones.catalogue import find_backbone  # noqa: E402
from edgetl.workstation.training.ema import WeightAverage  # noqa: E402
from edgetl.workstation.training.optimizer import (  # noqa: E402
    Anchor,
    Schedule,
    make_optimizer,
    parameter_groups,
)
from tests.workstation.training.tiny import recipe, tiny_network  # noqa: E402

SCHEDULES = ("onecycle", "cosine", "step", "plateau", "constant")


def settings(*more: str):
    return recipe(*(f"finetune.{assignment}" for assignment in more)).finetune


def optimizer_of(*more: str) -> torch.optim.Optimizer:
    return make_optimizer(tiny_network(), settings(*more))


def rates(
    *more: str, steps_per_epoch: int = 1, losses: tuple[float, ...] = ()
) -> tuple[list[float], float]:
    """The fastest rate of each step of a run, and the one after the last."""
    wanted = settings("head_rate=1", "backbone_rate=1", *more)
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": 1.0}])
    schedule = Schedule(optimizer, wanted, steps_per_epoch)
    taken = []
    for epoch in range(wanted.epochs):
        for _ in range(steps_per_epoch):
            taken.append(schedule.rate)
            optimizer.step()
            schedule.after_step()
        schedule.after_epoch(losses[epoch] if losses else 1.0 / (1 + epoch))
    return taken, schedule.rate


@pytest.mark.parametrize(
    ("more", "kind", "expected"),
    [
        (["optimizer=sgd"], torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        (
            ["optimizer=sgd", "momentum=0"],
            torch.optim.SGD,
            {"momentum": 0.0, "nesterov": False},
        ),
        (["optimizer=rmsprop"], torch.optim.RMSprop, {"momentum": 0.0, "alpha": 0.9}),
        (
            ["optimizer=rmsprop", "momentum=0.8"],
            torch.optim.RMSprop,
            {"momentum": 0.8, "alpha": 0.9},
        ),
        (["optimizer=adam"], torch.optim.Adam, {"betas": (0.9, 0.999), "eps": 1e-8}),
        (["optimizer=adamw"], torch.optim.AdamW, {"betas": (0.9, 0.999), "eps": 1e-8}),
    ],
)
def test_each_optimiser_has_its_usual_settings(more, kind, expected) -> None:
    optimizer = optimizer_of(*more, "weight_decay=0.3")
    assert type(optimizer) is kind
    for group in optimizer.param_groups:
        assert {name: group[name] for name in expected} == expected
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0, 0.3}


def test_adamw_decays_apart_from_the_gradient_and_adam_does_not() -> None:
    assert [
        bool(optimizer_of(f"optimizer={kind}").param_groups[0].get("decoupled_weight_decay"))
        for kind in ("adamw", "adam")
    ] == [True, False]


def test_the_head_has_its_own_rate_and_norms_and_biases_do_not_decay() -> None:
    network = tiny_network()
    groups = parameter_groups(
        network, settings("head_rate=0.5", "backbone_rate=0.25", "weight_decay=0.1")
    )
    given = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    for name, parameter in network.model.named_parameters():
        rate = 0.5 if name.startswith("fc.") else 0.25
        decay = 0.1 if parameter.ndim > 1 else 0.0
        assert given[id(parameter)] == (rate, decay), name
    assert given[id(network.model.fc.bias)] == (0.5, 0.0)
    assert given[id(network.model.stem[1].weight)] == (0.25, 0.0)
    assert len(given) == len(list(network.model.parameters()))


def test_rates_fall_with_each_block_from_the_head_to_the_stem() -> None:
    network = tiny_network()
    groups = parameter_groups(
        network, settings("head_rate=3", "backbone_rate=1", "layer_decay=0.5", "weight_decay=0")
    )
    given = {id(p): g["lr"] for g in groups for p in g["params"]}
    blocks = network.model.blocks
    first = [network.model.stem[0], blocks[0][0], blocks[1], blocks[2][0], network.model.fc]
    assert [given[id(layer.weight)] for layer in first] == [0.0625, 0.125, 0.25, 0.5, 3.0]


def test_what_stands_between_the_blocks_and_the_head_has_the_full_rate() -> None:
    network = build_network(find_backbone("shufflenet_v2"), 3)
    groups = parameter_groups(network, settings("backbone_rate=1", "layer_decay=0.5"))
    given = {id(p): g["lr"] for g in groups for p in g["params"]}
    model, blocks = network.model, len(network.blocks())
    assert given[id(model.conv5[0].weight)] == 1.0
    assert given[id(model.stage4[-1].branch2[0].weight)] == 0.5
    assert given[id(model.stage2[0].branch2[0].weight)] == 0.5**blocks
    assert given[id(model.conv1[0].weight)] == 0.5 ** (blocks + 1)


def test_frozen_parameters_stay_as_they_are_until_they_are_thawed() -> None:
    network = tiny_network()
    network.model.stem.requires_grad_(False)
    optimizer = make_optimizer(network, settings("weight_decay=0.5"))
    before = network.model.stem[0].weight.clone()
    for thawed in (False, True):
        network.model.stem.requires_grad_(thawed)
        network.model(torch.ones(2, 3, 16, 16)).sum().backward()
        optimizer.step()
        assert torch.equal(network.model.stem[0].weight, before) is not thawed


def test_one_cycle_rises_from_a_25th_to_the_peak_and_falls_to_almost_nothing() -> None:
    taken, after = rates("schedule=onecycle", "epochs=10", "warmup=0.3", steps_per_epoch=10)
    peak = taken.index(max(taken))
    assert taken[0] == pytest.approx(1 / 25)
    assert max(taken) == pytest.approx(1.0, abs=1e-3)
    assert 28 <= peak <= 31
    assert taken[:peak] == sorted(taken[:peak])
    assert taken[peak:] == sorted(taken[peak:], reverse=True)
    assert after < 1e-5


def test_a_cosine_falls_from_the_peak_to_zero() -> None:
    taken, after = rates("schedule=cosine", "warmup=0", "epochs=8")
    assert taken == pytest.approx([(1 + math.cos(math.pi * i / 8)) / 2 for i in range(8)])
    assert after == pytest.approx(0, abs=1e-9)


def test_a_warm_up_rises_evenly_to_the_peak_before_the_cosine() -> None:
    taken, after = rates("schedule=cosine", "warmup=0.25", "epochs=16")
    rising = [0.04 + 0.96 * i / 4 for i in range(4)]
    falling = [(1 + math.cos(math.pi * i / 12)) / 2 for i in range(12)]
    assert taken == pytest.approx(rising + falling)
    assert after == pytest.approx(0, abs=1e-9)


def test_steps_drop_the_rate_every_so_many_epochs_counted_from_the_first() -> None:
    wanted = ("schedule=step", "epochs=6", "drop_every=2", "drop_factor=0.5")
    taken, _ = rates(*wanted, "warmup=0", steps_per_epoch=2)
    assert taken == pytest.approx([1] * 4 + [0.5] * 4 + [0.25] * 4)
    taken, _ = rates(*wanted, "warmup=0.25", steps_per_epoch=2)
    assert taken == pytest.approx([0.04, 0.36, 0.68, 1] + [0.5] * 4 + [0.25] * 4)


def test_steps_come_at_the_thirds_where_the_recipe_does_not_say() -> None:
    taken, _ = rates("schedule=step", "epochs=9", "warmup=0")
    assert taken == pytest.approx([1] * 3 + [0.1] * 3 + [0.01] * 3)


def test_a_plateau_drops_the_rate_when_the_loss_has_stopped_falling() -> None:
    taken, after = rates(
        "schedule=plateau", "epochs=6", "patience=1", "warmup=0", "drop_factor=0.5",
        losses=(3, 2, 2, 2, 2, 2),
    )  # fmt: skip
    assert taken == pytest.approx([1, 1, 1, 1, 0.5, 0.5])
    assert after == pytest.approx(0.25)


def test_a_constant_rate_stays_after_its_warm_up() -> None:
    assert rates("schedule=constant", "epochs=3", "warmup=0") == ([1.0] * 3, 1.0)
    taken, after = rates("schedule=constant", "epochs=8", "warmup=0.25")
    assert taken == pytest.approx([0.04, 0.52] + [1.0] * 6)
    assert after == pytest.approx(1.0)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("epochs", range(1, 8))
def test_rates_are_sane_however_few_steps_there_are(
    schedule: str, warmup: float, epochs: int
) -> None:
    taken, after = rates(f"schedule={schedule}", f"warmup={warmup}", f"epochs={epochs}")
    assert all(0 < rate <= 1 + 1e-9 for rate in taken)
    if schedule == "onecycle":
        assert taken[0] == pytest.approx(1 / 25)
        assert after < 1e-5
    if schedule == "cosine":
        assert after == pytest.approx(0, abs=1e-9)
    if min(round(warmup * epochs), epochs - 1) and schedule != "onecycle":
        assert taken[0] == pytest.approx(0.04)


def test_groups_keep_their_proportion_and_the_fastest_rate_is_the_one_shown() -> None:
    optimizer = optimizer_of("head_rate=0.4", "backbone_rate=0.1")
    schedule = Schedule(optimizer, settings("schedule=cosine", "warmup=0", "epochs=4"), 1)
    optimizer.step()
    schedule.after_step()
    factor = (1 + math.cos(math.pi / 4)) / 2
    assert sorted({g["lr"] for g in optimizer.param_groups}) == pytest.approx(
        [0.1 * factor, 0.4 * factor]
    )
    assert schedule.rate == pytest.approx(0.4 * factor)


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_saved_state_goes_on_identically(kind: str, schedule: str, tmp_path) -> None:
    wanted = settings(f"optimizer={kind}", f"schedule={schedule}", "epochs=6", "patience=0")

    def begun() -> tuple:
        network = tiny_network()
        optimizer = make_optimizer(network, wanted)
        return network, optimizer, Schedule(optimizer, wanted, 2)

    def step(network, optimizer, schedule, number: int) -> float:
        torch.manual_seed(number)
        optimizer.zero_grad()
        network.model(torch.randn(4, 3, 16, 16)).square().mean().backward()
        optimizer.step()
        schedule.after_step()
        if number % 2:
            schedule.after_epoch(1.0)
        return schedule.rate

    whole = begun()
    expected = [step(*whole, number) for number in range(12)]
    first = begun()
    got = [step(*first, number) for number in range(6)]
    torch.save([part.state_dict() for part in (first[0].model, *first[1:])], tmp_path / "state")
    second = begun()
    for part, state in zip(
        (second[0].model, *second[1:]), torch.load(tmp_path / "state", weights_only=True),
        strict=True,
    ):  # fmt: skip
        part.load_state_dict(state)
    got += [step(*second, number) for number in range(6, 12)]
    assert got == expected
    for one, other in zip(whole[0].model.parameters(), second[0].model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_anchor_pulls_the_backbones_matrices_back_to_their_start() -> None:
    network = tiny_network()
    anchor = Anchor(network, 0.5)
    model = network.model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(2.0)
            parameter.grad = torch.ones_like(parameter)
    model.blocks[0][0].weight.grad = None  # frozen
    anchor.add_gradient()
    # 1 + 0.5 x 2, to within what adding 2 rounded off.
    torch.testing.assert_close(model.stem[0].weight.grad, torch.full((4, 3, 3, 3), 2.0))
    assert model.blocks[0][0].weight.grad is None
    assert torch.equal(model.stem[1].weight.grad, torch.ones(4))  # a norm
    assert torch.equal(model.fc.weight.grad, torch.ones(3, 8))  # the head


def test_without_strength_the_anchor_keeps_nothing_and_does_nothing() -> None:
    network = tiny_network()
    anchor = Anchor(network, 0.0)
    network.model.fc.weight.grad = torch.ones(3, 8)
    anchor.add_gradient()
    assert anchor.start == []
    assert torch.equal(network.model.fc.weight.grad, torch.ones(3, 8))


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))


def test_the_average_follows_with_a_decay_that_rises() -> None:
    model = Counting()
    average = WeightAverage(model, 0.25)
    seen = []
    for number in (1, 2, 3, 4):
        with torch.no_grad():
            model.weight.fill_(number)
            model.mean.fill_(10 * number)
            model.count.fill_(number)
        average.before_step()
        average.update()
        seen.append(average.model.weight.item())
        assert float(average.model.mean) == pytest.approx(10 * seen[-1])
        assert int(average.model.count) == number  # integers are taken over
    second = 2 / 11 * 1 + 9 / 11 * 2  # (1 + 1) / (10 + 1) is still below the decay
    third = 3 / 12 * second + 9 / 12 * 3  # (1 + 2) / (10 + 2) has reached it
    assert seen == pytest.approx([1.0, second, third, 0.25 * third + 0.75 * 4])


def test_the_average_is_apart_from_the_network() -> None:
    network = tiny_network()
    average = WeightAverage(network.model, 0.9)
    before = copy.deepcopy(average.model.state_dict())
    with torch.no_grad():
        network.model.fc.weight.add_(1)
    assert torch.equal(average.model.fc.weight, before["fc.weight"])
