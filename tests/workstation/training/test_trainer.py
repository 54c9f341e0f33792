import copy
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from edgetl.core.errors import EdgetlError  # noqa: E402
from edgetl.workstation.backbones.build import Network, build_network  # noqa: E402
from edgetl.workstation.backbones.catalogue import find_backbone  # noqa: E402
from edgetl.workstation.training.augment import plain_batch  # noqa: E402
from edgetl.workstation.training.batch_norm import recalibrate_batch_norm  # noqa: E402
from edgetl.workstation.training.pixel_cache import PixelSet  # noqa: E402
from edgetl.workstation.training.resume import Best, read_state  # noqa: E402
from edgetl.workstation.training.training_pixels import TrainingPictures  # noqa: E402
from tests.making import PLAIN, Remarks  # noqa: E402
from tests.workstation.training.tiny import (  # noqa: E402
    NOTHING,
    made,
    recipe,
    same,
    tiny_network,
    train_all,
    trainer,
    weights,
)

FAST = ("finetune.backbone_rate=2e-2", "finetune.head_rate=2e-2")


def learning(model: nn.Module) -> list[bool]:
    """Which of stem, blocks and head learn."""
    parts = [model.stem, *model.blocks, model.fc]
    return [all(p.requires_grad for p in part.parameters()) for part in parts]


@pytest.mark.parametrize(
    ("optimizer", "rate"),
    [("sgd", "1e-2"), ("adam", "1e-2"), ("adamw", "1e-2"), ("rmsprop", "3e-3")],
)
def test_training_lowers_the_loss(optimizer: str, rate: str) -> None:
    wanted = recipe(
        f"finetune.optimizer={optimizer}", f"finetune.backbone_rate={rate}",
        f"finetune.head_rate={rate}", "finetune.epochs=12", "augment=none",
    )  # fmt: skip
    ends = train_all(trainer(wanted, val=made(6)))
    assert [end.epoch for end in ends] == list(range(1, 13))
    assert ends[-1].loss < 0.8 * ends[0].loss


@pytest.mark.parametrize(
    "more",
    [
        ("augment=strong",),
        ("finetune.imbalance=sampling",),
        ("finetune.imbalance=logit-adjustment",),
        ("finetune.l2sp=0.1", "finetune.layer_decay=0.7"),
        ("finetune.schedule=plateau", "finetune.clip_norm=0"),
    ],
)
def test_every_way_of_training_lowers_the_loss(more) -> None:
    ends = train_all(trainer(recipe(*FAST, "finetune.epochs=10", *more)))
    assert min(end.loss for end in ends[5:]) < ends[0].loss
    assert all(end.val is None for end in ends)


def test_the_loss_of_an_epoch_is_the_mean_over_its_pictures() -> None:
    # Nothing moves at so small a rate, so that it can be worked out from the network as it is.
    tiny = ("finetune.backbone_rate=1e-9", "finetune.head_rate=1e-9", "finetune.label_smoothing=0")
    network = tiny_network(norms=False)
    before = copy.deepcopy(network.model).eval()
    it = trainer(recipe(*tiny, "finetune.batch=5", "augment=none"), network)
    (loss, _) = [end.loss for end in train_all(it)]
    logits = before(plain_batch(torch.from_numpy(made().pixels), PLAIN))
    expected = nn.functional.cross_entropy(logits, torch.from_numpy(made().labels))
    assert loss == pytest.approx(expected.item(), abs=1e-4)


def test_frozen_norms_do_not_drift_while_training() -> None:
    network = tiny_network()
    before = weights(network)
    wanted = recipe("finetune.trainable_blocks=1", "finetune.weight_decay=0.5")
    train_all(trainer(wanted, network, val=made()))
    after = weights(network)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"blocks.2.1.running_mean", "blocks.2.0.weight", "fc.weight"} <= moved
    assert all(name.startswith(("blocks.2.", "fc.")) for name in moved)


def test_gradual_unfreezing_thaws_one_more_block_every_so_many_epochs() -> None:
    network = tiny_network()
    wanted = recipe(
        "finetune.trainable_blocks=0", "finetune.unfreeze_every=2", "finetune.epochs=10"
    )
    it = trainer(wanted, network)
    seen, norms = [], []
    for _ in it.epochs(lambda: NOTHING):
        seen.append(sum(learning(network.model)))
        norms.append(network.model.stem[1].num_batches_tracked.item())
    # The head; then one block more each time; last of all the stem.
    assert seen == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    # In the end the stem's norm is settled, in one batch.
    assert norms == [0] * 8 + [2, 1]


def test_a_thawed_block_goes_on_where_a_resumed_run_thaws_it(tmp_path) -> None:
    wanted = recipe(
        *FAST, "finetune.trainable_blocks=0", "finetune.unfreeze_every=1", "finetune.epochs=4"
    )
    whole = trainer(wanted)
    train_all(whole)
    first = trainer(wanted)
    run = first.epochs(lambda: NOTHING)
    next(run), next(run)
    first.state(tmp_path / "state", Best(0.5, 0.75, 2, 1)).write()
    second = trainer(wanted, tiny_network(seed=5), state=tmp_path / "state")
    assert read_state(tmp_path / "state", torch.device("cpu")).best == Best(0.5, 0.75, 2, 1)
    assert second.epochs_done == 2
    assert [end.epoch for end in train_all(second)] == [3, 4]
    assert same(weights(second.network), weights(whole.network))


SMALLER = ("finetune.train_size=0.5", "finetune.ema=0.9")  # 32 of 64 px


def test_training_pictures_are_smaller_where_the_recipe_wants_it() -> None:
    it = trainer(recipe(*FAST, *SMALLER), size_px=64)
    sides = set()
    it.network.model.stem.register_forward_pre_hook(lambda _, taken: sides.add(taken[0].shape[-1]))
    train_all(it)
    assert sides == {32}


def statistics(network: Network) -> dict[str, torch.Tensor]:
    return {name: t for name, t in weights(network).items() if "running" in name}


@pytest.mark.parametrize("ema", ["finetune.ema=0.9", "finetune.ema=0"])
def test_a_network_trained_on_smaller_pictures_is_kept_with_norms_of_whole_ones(ema: str) -> None:
    it = trainer(recipe(*FAST, *SMALLER, ema), size_px=64)
    train_all(it)
    kept = statistics(it.averaged)
    it.averaged.model.train()
    recalibrate_batch_norm(
        it.averaged, it.setup.train.whole, it.setup.spec, it.setup.compute, seed=0
    )
    assert same(kept, statistics(it.averaged))


def test_norms_behind_a_frozen_front_are_settled_and_those_in_it_are_not() -> None:
    it = trainer(recipe(*FAST, "finetune.trainable_blocks=1", "finetune.ema=0.9"))
    before = statistics(it.averaged)
    train_all(it)
    after = statistics(it.averaged)
    learnt = {name for name in before if name.startswith("blocks.2.")}
    assert learnt
    assert all(torch.equal(before[name], after[name]) for name in before.keys() - learnt)
    it.averaged.model.train()
    for name in ("stem.1", "blocks.0.1"):
        it.averaged.model.get_submodule(name).eval()
    recalibrate_batch_norm(
        it.averaged, it.setup.train.whole, it.setup.spec, it.setup.compute, seed=0
    )
    assert same(after, statistics(it.averaged))


def test_norms_that_do_not_learn_keep_their_statistics_whatever_size_training_has() -> None:
    network = tiny_network()
    before = statistics(network)
    it = trainer(recipe(*FAST, *SMALLER, "finetune.trainable_blocks=1"), network, size_px=64)
    train_all(it)
    after = statistics(it.averaged)
    assert {name.split(".")[0] for name in before} == {"stem", "blocks"}
    assert all(torch.equal(before[n], after[n]) for n in before if n.startswith("stem"))


def test_a_resumed_run_on_smaller_pictures_ends_where_a_whole_one_does(tmp_path) -> None:
    wanted = recipe(*FAST, *SMALLER, "finetune.epochs=3")
    whole = trainer(wanted, size_px=64)
    train_all(whole)
    first = trainer(wanted, size_px=64)
    next(first.epochs(lambda: NOTHING))
    first.state(tmp_path / "state", NOTHING).write()
    second = trainer(wanted, tiny_network(seed=5), size_px=64, state=tmp_path / "state")
    train_all(second)
    assert same(weights(second.averaged), weights(whole.averaged))


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_trained_along(name: str) -> None:
    backbone = find_backbone(name)
    size_px = 299 if name == "inception_v3" else 64
    torch.manual_seed(0)
    network = build_network(backbone, 3, auxiliary=True)
    small = made(2, size_px)
    wanted = recipe("finetune.batch=2", "finetune.epochs=1", "augment=none", "finetune.ema=0.5")
    spec = type(PLAIN)(size_px=size_px, mean=PLAIN.mean, std=PLAIN.std)
    it = trainer(wanted, network, train=small)
    it.setup = it.setup._replace(spec=spec)
    before = weights(network)
    train_all(it)
    for head in backbone.auxiliary:
        assert not torch.equal(
            weights(network)[f"{head.last}.weight"], before[f"{head.last}.weight"]
        )


class Greedy(nn.Module):
    """Runs out of memory above `most` pictures."""

    def __init__(self, model: nn.Module, most: int) -> None:
        super().__init__()
        self.blocks, self.fc, self.inner, self.most = model.blocks, model.fc, model, most
        self.seen: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen.append(len(x))
            if len(x) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")
        return self.inner(x)


def greedy_trainer(most: int, progress=None, *more: str):
    network = tiny_network(norms=False)
    network = network._replace(model=Greedy(network.model, most))
    wanted = recipe("finetune.batch=12", "augment=none", "finetune.epochs=1", *more)
    return trainer(wanted, network, progress=progress)


def gradients(it) -> dict[str, torch.Tensor]:
    (everything,) = it._begin(0)
    loss = it.step(everything)
    grads = {name: p.grad.clone() for name, p in it.network.model.inner.named_parameters()}
    return grads | {"loss": loss}


@pytest.mark.parametrize(("most", "parts"), [(6, [6, 6]), (5, [3] * 4), (2, [1] * 12)])
def test_a_batch_too_large_for_memory_gives_the_same_gradients_in_parts(most, parts) -> None:
    whole, remarks = gradients(greedy_trainer(12)), Remarks()
    split_trainer = greedy_trainer(most, remarks)
    split = gradients(split_trainer)
    assert split_trainer.network.model.seen[-len(parts) :] == parts
    for name, expected in whole.items():
        torch.testing.assert_close(split[name], expected, rtol=1e-4, atol=1e-6, msg=name)
    assert remarks.said[0] == (
        "out of GPU memory: batches now go through 6 at a time; their gradients are added up"
    )


def test_later_batches_go_through_in_the_size_that_fitted() -> None:
    it = greedy_trainer(4, None, "finetune.epochs=2")
    train_all(it)
    assert it.network.model.seen == [12, 6, 3, 3, 3, 3] + [3] * 4


@pytest.mark.parametrize(("count", "batches"), [(2, [2]), (3, [3]), (5, [3, 2]), (6, [2, 2, 2])])
def test_no_batch_has_a_single_picture(count: int, batches: list[int]) -> None:
    # A batch norm cannot learn from one.
    network = tiny_network()
    network = network._replace(model=Greedy(network.model, 12))
    train_all(trainer(recipe("finetune.batch=2", "finetune.epochs=1"), network, train=made(count)))
    assert network.model.seen[: len(batches)] == batches  # then its norms see all of them once
    assert network.model.seen[len(batches) :] == [count]


def test_each_part_of_a_split_batch_has_every_class() -> None:
    it = greedy_trainer(4)
    in_order = PixelSet(made().pixels, np.repeat([0, 1, 2], 4))  # in file order, class by class
    it.setup = it.setup._replace(train=TrainingPictures(in_order, in_order))
    wanted: list[list[int]] = []
    objective = it._loss._objective

    def seeing(logits, targets):
        wanted.append(sorted(targets.argmax(1).tolist()))
        return objective(logits, targets)

    it._loss._objective = seeing
    gradients(it)
    assert all(set(part) == {0, 1, 2} for part in wanted)


def test_no_memory_for_one_picture_is_told() -> None:
    with pytest.raises(EdgetlError) as caught:
        train_all(greedy_trainer(0))
    assert str(caught.value) == (
        "The GPU has no memory for one picture: CUDA out of memory. Tried to allocate 2 GiB"
    )
    assert caught.value.hint == "use a smaller --image-size or --backbone, or free the GPU."


class Breaking(nn.Module):
    """No numbers from the n-th training step on."""

    def __init__(self, model: nn.Module, at: int) -> None:
        super().__init__()
        self.blocks, self.fc, self.inner, self.left = model.blocks, model.fc, model, at

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.left -= self.training
        return self.inner(x) * (math.nan if self.left <= 0 else 1.0)


@pytest.mark.parametrize(("at", "where"), [(1, "epoch 1, step 1"), (8, "epoch 2, step 4")])
def test_a_loss_that_is_no_number_names_the_step(at: int, where: str) -> None:
    network = tiny_network()
    network = network._replace(model=Breaking(network.model, at))
    with pytest.raises(EdgetlError) as caught:
        train_all(trainer(recipe("finetune.batch=3"), network))
    assert str(caught.value) == f"The loss stopped being a number in {where}."


def test_the_averaged_network_is_scored_and_kept_and_is_apart() -> None:
    it = trainer(recipe(*FAST, "finetune.ema=0.9"), val=made(6), prepared=True)
    start = it.validate()
    assert same(weights(it.averaged), weights(it.network))  # after the probe they are one
    (_, last) = train_all(it)
    assert start is not None
    assert not same(weights(it.averaged), weights(it.network))
    it.averaged.model.eval()
    with torch.inference_mode():
        logits = it.averaged.model(plain_batch(torch.from_numpy(made(6).pixels), PLAIN))
    np.testing.assert_allclose(last.val.logits, logits.numpy(), atol=1e-5)


def test_copies_of_the_network_run_their_own_fast_convolutions() -> None:
    it = trainer(recipe("finetune.ema=0.9"))
    own, copied = it.network.model.blocks[1], it.averaged.model.blocks[1]
    assert own.forward.args == (own,)
    assert copied.forward.args == (copied,)
    with torch.no_grad():
        copied.weight.zero_()
        assert copied(torch.ones(1, 4, 8, 8)).abs().sum() == 0
        assert own(torch.ones(1, 4, 8, 8)).abs().sum() > 0


def test_an_average_learns_from_a_network_behind_a_frozen_front() -> None:
    it = trainer(recipe(*FAST, "finetune.ema=0.5", "finetune.trainable_blocks=1"), val=made(6))
    before = weights(it.averaged)
    (_, last) = train_all(it)
    after = weights(it.averaged)
    assert torch.equal(after["stem.0.weight"], before["stem.0.weight"])
    assert not torch.equal(after["fc.weight"], before["fc.weight"])
    it.averaged.model.eval()
    with torch.inference_mode():
        logits = it.averaged.model(plain_batch(torch.from_numpy(made(6).pixels), PLAIN))
    np.testing.assert_allclose(last.val.logits, logits.numpy(), atol=1e-5)


def test_the_probe_starts_the_head_off_better_than_chance() -> None:
    it = trainer(recipe(), val=made(12), prepared=True)
    scored = it.validate()
    assert scored.top1 > 0.8
    assert scored.logits.dtype == np.float32


@pytest.mark.parametrize("content", [b"", b"damaged"])
def test_a_damaged_state_is_refused(tmp_path, content: bytes) -> None:
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(EdgetlError, match=r"state' cannot be resumed: "):
        trainer(recipe(), state=tmp_path / "state")
