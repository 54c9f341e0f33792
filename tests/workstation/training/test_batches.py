import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402, N812

import edgetl.workstation.training.trainer as trainer_module  # noqa: E402
from edgetl.workstation.backbones.build import Network, build_network, freeze_all_but_last  # noqa: E402
from edgetl.workstation.backbones.catalogue import find_backbone  # noqa: E402
from edgetl.workstation.recipe import Recipe  # noqa: E402
from edgetl.workstation.training import batches as feeds  # noqa: E402
from edgetl.workstation.training.augment import plain_batch  # noqa: E402
from edgetl.workstation.training.batches import (  # noqa: E402
    ActivationBatches,
    Batches,
    PictureBatches,
    make_batches,
)
from edgetl.workstation.training.random_draws import Draws  # noqa: E402
from tests.making import PLAIN  # noqa: E402
from tests.workstation.training.tiny import (  # noqa: E402
    TinyNet,
    made,
    recipe,
    setup_of,
    tiny_network,
    train_all,
    trainer,
    weights,
)

FROZEN = ("finetune.trainable_blocks=1", "augment=none")


def feed_of(wanted: Recipe, network=None, *, val: bool = True) -> Batches:
    network = network or tiny_network()
    freeze_all_but_last(network, wanted.finetune.trainable_blocks)
    setup = setup_of(wanted, network, val=made(5) if val else None)
    return make_batches(setup, wanted.augmentation)


def batch_of(feed: Batches, chosen: list[int], epoch: int = 0) -> torch.Tensor:
    """The batch of an epoch that has these pictures alone."""
    feed.begin(epoch, np.array(chosen))
    inputs = feed.inputs(slice(0, len(chosen)))
    assert inputs.labels.tolist() == made().labels[chosen].tolist()
    return feed.batch(inputs.pictures, Draws(inputs.numbers))


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ((), PictureBatches),
        (("finetune.trainable_blocks=1",), ActivationBatches),
        (("finetune.trainable_blocks=0",), ActivationBatches),
        (("finetune.trainable_blocks=3",), PictureBatches),  # only the stem is frozen
        (("finetune.trainable_blocks=9",), PictureBatches),
        (("finetune.train_size=0.8", "finetune.first_size_px=16"), PictureBatches),
        (
            ("finetune.trainable_blocks=0", "finetune.train_size=0.8", "finetune.first_size_px=16"),
            ActivationBatches,
        ),
        (("finetune.trainable_blocks=0", "finetune.unfreeze_every=1"), PictureBatches),
        (("finetune.trainable_blocks=0", "finetune.epochs=0"), PictureBatches),
    ],
)
def test_activations_are_cached_where_a_front_stays_frozen(more, kind) -> None:
    assert type(feed_of(recipe(*more))) is kind


def test_training_pictures_are_augmented_and_held_out_ones_are_not() -> None:
    feed = feed_of(recipe())
    plain = plain_batch(torch.from_numpy(made().pixels[[0, 3]]), PLAIN)
    assert not torch.equal(batch_of(feed, [0, 3]), plain)
    (held_out,) = feed.held_out()
    assert torch.equal(held_out, plain_batch(torch.from_numpy(made(5).pixels), PLAIN))


def test_every_epoch_augments_anew_and_repeats() -> None:
    feed, some = feed_of(recipe()), [0, 1, 2, 3]
    first = batch_of(feed, some, epoch=0)
    assert not torch.equal(first, batch_of(feed, some, epoch=1))
    assert torch.equal(first, batch_of(feed, some, epoch=0))


def test_every_epoch_takes_the_next_view_in_turn() -> None:
    feed = feed_of(recipe(*FROZEN[:1], "finetune.cached_views=2", "finetune.epochs=5"))
    batches = [batch_of(feed, [0, 1, 2, 3], epoch) for epoch in range(3)]
    assert not torch.equal(batches[0], batches[1])
    assert torch.equal(batches[0], batches[2])


@pytest.mark.parametrize(
    ("more", "views"),
    [
        (("finetune.epochs=5",), 5),
        (("finetune.epochs=20",), 8),
        (("finetune.epochs=20", "augment=none"), 1),
        (("finetune.epochs=20", "augment=none", "augment.mixup=0.2"), 1),
    ],
)
def test_no_more_views_are_cached_than_differ(more, views: int) -> None:
    feed = feed_of(recipe("finetune.trainable_blocks=1", *more))
    assert len(feed._train.activations) == views


def test_cached_views_do_not_depend_on_what_was_drawn_before() -> None:
    # A resumed run makes them anew, without the probe before.
    wanted = recipe("finetune.trainable_blocks=1", "augment=strong")
    first = feed_of(wanted)._train.activations
    torch.rand(17)
    assert torch.equal(feed_of(wanted)._train.activations, first)


@pytest.mark.parametrize("val", [True, False])
def test_cached_activations_train_the_same_weights_as_pictures(monkeypatch, val: bool) -> None:
    def trained() -> tuple:
        wanted = recipe(*FROZEN, "finetune.epochs=3", "finetune.ema=0.5")
        it = trainer(wanted, tiny_network(), val=made(5) if val else None)
        ends = train_all(it)
        return it.machine.batches, weights(it.network), weights(it.averaged), ends

    feed, cached, averaged, ends = trained()
    assert type(feed) is ActivationBatches

    monkeypatch.setattr(trainer_module, "make_batches", PictureBatches)
    feed, plain, plain_averaged, plain_ends = trained()
    assert type(feed) is PictureBatches
    # But for rounding: the front that is run once has its norms in its convolutions.
    for one, other in ((cached, plain), (averaged, plain_averaged)):
        assert list(one) == list(other)
        assert all(torch.allclose(one[key], other[key], atol=1e-4) for key in one)
    for one, other in zip(ends, plain_ends, strict=True):
        assert one[:3] == pytest.approx(other[:3], rel=1e-4)
        assert (one.val is None) is not val
        if one.val:
            assert np.allclose(one.val.logits, other.val.logits, atol=1e-4)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_backbones_with_branches_in_the_front_are_fed_with_pictures(name: str) -> None:
    network = build_network(find_backbone(name), 3)
    assert type(feed_of(recipe("finetune.trainable_blocks=2"), network)) is PictureBatches


class Shortcut(TinyNet):
    """Something else than a chain of its modules: a way round the block before the cut."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.blocks[1](self.blocks[0](x)) + F.avg_pool2d(x, 2)
        return self.fc(self.pool(self.blocks[2](x)).flatten(1))


class Doubled(TinyNet):
    """As a chain it would run, but with another answer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(self.blocks(2 * self.stem(x))).flatten(1))


@pytest.mark.parametrize("kind", [Shortcut, Doubled])
def test_a_network_that_is_no_chain_of_its_modules_is_fed_with_pictures(kind) -> None:
    torch.manual_seed(0)
    network = Network(kind(), tiny_network().backbone)
    assert type(feed_of(recipe("finetune.trainable_blocks=1"), network)) is PictureBatches


def test_activations_that_would_take_too_much_room_give_way_to_pictures(monkeypatch) -> None:
    monkeypatch.setattr(feeds, "ROOM_BYTES", 12 * 4 * 8 * 8 * 4 - 1)
    assert type(feed_of(recipe("finetune.trainable_blocks=1"))) is PictureBatches
    monkeypatch.setattr(feeds, "ROOM_BYTES", 12 * 4 * 8 * 8 * 4)
    assert type(feed_of(recipe("finetune.trainable_blocks=1"))) is ActivationBatches


@pytest.mark.parametrize("more", [(), FROZEN])
def test_without_a_validation_part_nothing_is_held_out(more) -> None:
    assert list(feed_of(recipe(*more), val=False).held_out()) == []
