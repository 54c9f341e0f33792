import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgetl.backbones.build import Network, build_network  # noqa: E402
from edgetl.backbones.catalogue import find_backbone  # noqa: E402
from edgetl.core.progress import Silent  # noqa: E402
from edgetl.core.recipe import Augment, Recipe, override  # noqa: E402
from edgetl.finetune.augment import BatchAugment, plain_batch  # noqa: E402
from edgetl.finetune.compute import Compute  # noqa: E402
from edgetl.finetune.loop import Trainer, class_weights, evaluate_network  # noqa: E402
from edgetl.finetune.pixels import PixelSet, training_spec  # noqa: E402
from tests.making import PLAIN, draw  # noqa: E402

HEAD_ONLY = msgspec.structs.replace(find_backbone("resnet18"), head="0", trunk=())
STILL = Augment(min_area=1.0, flip="none", brightness=0.0, contrast=0.0, saturation=0.0)


def made(count: int = 12) -> PixelSet:
    kinds = ("checks", "slope", "stripes")
    pixels = [np.asarray(draw(kinds[i % 3], i, 32, 32)) for i in range(count)]
    return PixelSet(np.stack(pixels), np.arange(count) % 3)


def test_even_classes_weigh_the_same() -> None:
    labels = np.repeat([0, 1], [15, 10])  # at most 1.5 times as many
    assert class_weights(labels, 2, "auto").tolist() == [1.0, 1.0]


def test_uneven_classes_weigh_the_inverse_square_root_of_their_share() -> None:
    labels = np.repeat([0, 1], [90, 10])
    weights = class_weights(labels, 2, "auto").numpy()
    assert weights[1] / weights[0] == pytest.approx(3)  # the root of 90 / 10
    assert weights[labels].mean() == pytest.approx(1)


def test_class_weights_can_be_turned_off() -> None:
    assert class_weights(np.repeat([0, 1], [90, 10]), 2, "none").tolist() == [1.0, 1.0]


def test_augmentation_that_does_nothing_is_normalisation_alone() -> None:
    pixels = torch.from_numpy(made(3).pixels)
    augmented = BatchAugment(STILL, PLAIN, torch.Generator().manual_seed(0))
    # A random aspect may still squeeze a crop, so the picture is one colour.
    flat = torch.full_like(pixels, 77)
    assert torch.allclose(augmented(flat), plain_batch(flat, PLAIN), atol=1e-5)


def test_normalisation_agrees_with_numbers_worked_out_by_hand() -> None:
    pixels = torch.tensor([[[[0, 127, 255]]]], dtype=torch.uint8)
    expected = [(0 / 255 - 0.5) / 0.5, (127 / 255 - 0.5) / 0.5, (255 / 255 - 0.5) / 0.5]
    assert plain_batch(pixels, PLAIN).flatten().tolist() == pytest.approx(expected)


def test_augmentation_repeats_with_its_seed_and_changes_with_another() -> None:
    pixels = torch.from_numpy(made(4).pixels)
    first, again, other = (
        BatchAugment(Augment(), PLAIN, torch.Generator().manual_seed(seed))(pixels)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (4, 3, 32, 32)


def test_augmented_pixels_stay_in_range() -> None:
    pixels = torch.from_numpy(made(12).pixels)
    strong = Augment(min_area=0.1, flip="both", brightness=0.9, contrast=0.9, saturation=0.9)
    batch = BatchAugment(strong, PLAIN, torch.Generator().manual_seed(0))(pixels)
    assert batch.min() >= -1 - 1e-5
    assert batch.max() <= 1 + 1e-5
    assert batch.isfinite().all()


@pytest.mark.parametrize(("flip", "directions"), [("none", 1), ("horizontal", 2), ("both", 4)])
def test_flips_go_only_where_they_are_allowed(flip: str, directions: int) -> None:
    picture = np.zeros((1, 32, 32, 3), np.uint8)
    picture[:, :8, :8] = 255  # a bright corner
    batch = torch.from_numpy(picture.repeat(64, 0))
    augment = BatchAugment(
        Augment(min_area=1.0, flip=flip, brightness=0.0, contrast=0.0, saturation=0.0),
        PLAIN,
        torch.Generator().manual_seed(0),
    )
    flipped = augment(batch)
    corners = torch.stack([flipped[:, 0, y, x] for y in (2, 29) for x in (2, 29)], 1)
    assert len(set(corners.argmax(1).tolist())) == directions


def test_training_pictures_keep_a_margin_for_crops() -> None:
    assert training_spec(PLAIN).size_px == 40
    assert training_spec(PLAIN).mean == PLAIN.mean


def test_evaluation_scores_what_the_network_says() -> None:
    network = build_network(find_backbone("mobilenet_v2"), 3)
    torch.nn.init.zeros_(network.head().weight)
    with torch.no_grad():
        network.head().bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    result = evaluate_network(network.model, made(), PLAIN, Compute(Recipe()), exact=True)
    assert result.predicted.tolist() == [1] * 12
    assert result.logits.tolist() == [[0.0, 1.0, 0.0]] * 12
    assert result.logits.dtype == np.float32
    assert result.top1 == pytest.approx(1 / 3)
    expected = np.log(2 + np.e) - 1 / 3
    assert result.loss == pytest.approx(expected, abs=1e-5)


def test_frozen_norms_do_not_drift_while_training() -> None:
    network = build_network(find_backbone("mobilenet_v2"), 3)
    recipe = override(
        Recipe(), ["finetune.trainable_blocks=2", "finetune.epochs=1", "precision=fp32"]
    )
    first = network.model.features[0][1]
    last = network.model.features[-1][1]
    before = first.running_mean.clone(), last.running_mean.clone()
    trainer = Trainer(network, made(), made(), PLAIN, recipe, Compute(recipe))
    assert [epoch for epoch, _, _ in trainer.epochs(Silent())] == [1]
    assert torch.equal(first.running_mean, before[0])
    assert not torch.equal(last.running_mean, before[1])


@pytest.mark.parametrize(
    ("optimizer", "rate", "batch"), [("sgd", "5e-3", 6), ("adamw", "1e-3", 12)]
)
def test_training_lowers_the_loss(optimizer: str, rate: str, batch: int) -> None:
    torch.manual_seed(0)
    network = build_network(find_backbone("resnet18"), 3)
    recipe = override(
        Recipe(),
        [f"finetune.optimizer={optimizer}", f"finetune.batch={batch}", "finetune.epochs=8",
         f"finetune.backbone_rate={rate}", f"finetune.head_rate={rate}", "precision=fp32"],
    )  # fmt: skip
    trainer = Trainer(network, made(), made(), PLAIN, recipe, Compute(recipe))
    losses = [loss for _, loss, _ in trainer.epochs(Silent())]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("epochs", range(1, 8))
@pytest.mark.parametrize("warmup", [0.0, 0.2, 0.5, 0.9])
def test_the_rate_rises_to_its_peak_and_ends_near_zero_however_few_steps(
    epochs: int, warmup: float
) -> None:
    recipe = override(
        Recipe(),
        [f"finetune.epochs={epochs}", f"finetune.warmup={warmup}", "finetune.batch=12",
         "finetune.head_rate=1e-3", "precision=fp32"],
    )  # fmt: skip
    network = Network(torch.nn.Sequential(torch.nn.Linear(3, 3)), HEAD_ONLY)
    trainer = Trainer(network, made(), made(), PLAIN, recipe, Compute(recipe))
    rates = []
    for _ in range(epochs):
        rates.append(trainer._schedule.get_last_lr()[0])
        trainer._optimizer.step()
        trainer._schedule.step()
    assert max(rates) <= 1e-3
    assert rates[0] == pytest.approx(1e-3 / 25)
    assert trainer._schedule.get_last_lr()[0] < 1e-6
