import numpy as np
import pytest

torch = pytest.importorskip("torch")

import msgspec  # noqa: E402

from edgetl.workstation.recipe import PRESETS, STILL, Augment  # noqa: E402
from edgetl.workstation.training.augment import BatchAugment, plain_batch  # noqa: E402
from edgetl.workstation.training.mixup import Mix  # noqa: E402
from edgetl.workstation.training.random_draws import draw  # noqa: E402
from tests.making import PLAIN  # noqa: E402
from tests.workstation.training.tiny import made  # noqa: E402

CPU = torch.device("cpu")


def still_but(**settings: object) -> Augment:
    return msgspec.structs.replace(STILL, **settings)


def augmented(augment: Augment, pixels: torch.Tensor, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return BatchAugment(augment, PLAIN, CPU)(pixels, draw(len(pixels), augment, seed, CPU))


def mixed(
    augment: Augment, batch: torch.Tensor, labels: torch.Tensor, classes: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    return Mix(augment, classes)(batch, labels, draw(len(batch), augment, seed, CPU))


def pictures(count: int = 12, size_px: int = 40) -> torch.Tensor:
    return torch.from_numpy(made(count, size_px).pixels)


def test_augmentation_that_does_nothing_is_normalisation_alone() -> None:
    pixels = pictures(3, 32)
    torch.testing.assert_close(augmented(STILL, pixels), plain_batch(pixels, PLAIN))


def test_normalisation_agrees_with_numbers_worked_out_by_hand() -> None:
    pixels = torch.tensor([[[[0, 127, 255]]]], dtype=torch.uint8)
    expected = [(0 / 255 - 0.5) / 0.5, (127 / 255 - 0.5) / 0.5, (255 / 255 - 0.5) / 0.5]
    one = msgspec.structs.replace(PLAIN, size_px=16)
    batch = plain_batch(pixels.expand(1, 16, 16, 3), one)
    assert batch[0, :, 3, 5].tolist() == pytest.approx(expected)


def test_plain_pictures_are_scaled_where_another_side_is_wanted() -> None:
    batch = plain_batch(pictures(2, 40), PLAIN, side_px=32)
    assert batch.shape == (2, 3, 32, 32)
    assert batch.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "augment",
    [
        Augment(),
        PRESETS["strong"],
        PRESETS["robust"],
        still_but(rand_augment=9),
        still_but(erase=0.9),
        STILL,
    ],
    ids=["light", "strong", "robust", "rand-augment", "erase", "none"],
)
def test_batches_are_normalised_floats_that_repeat_with_their_seed(augment: Augment) -> None:
    pixels = pictures()
    first, again = augmented(augment, pixels, 1), augmented(augment, pixels, 1)
    assert (first.shape, first.dtype) == ((12, 3, 32, 32), torch.float32)
    assert first.is_contiguous(memory_format=torch.channels_last)
    assert -1 - 1e-5 <= first.min() < first.max() <= 1 + 1e-5
    assert torch.equal(first, again)
    assert torch.equal(first, augmented(augment, pixels, 2)) is (augment == STILL)


def test_augmented_pixels_stay_in_range_however_strong() -> None:
    strong = Augment(
        min_area=0.1, flip="both", brightness=0.9, contrast=0.9, saturation=0.9, rand_augment=30
    )
    batch = augmented(strong, pictures())
    assert -1 - 1e-5 <= batch.min() < batch.max() <= 1 + 1e-5
    assert batch.isfinite().all()


@pytest.mark.parametrize(("flip", "directions"), [("none", 1), ("horizontal", 2), ("both", 4)])
def test_flips_go_only_where_they_are_allowed(flip: str, directions: int) -> None:
    picture = np.zeros((1, 32, 32, 3), np.uint8)
    picture[:, :8, :8] = 255  # a bright corner
    flipped = augmented(still_but(flip=flip), torch.from_numpy(picture.repeat(64, 0)))
    corners = torch.stack([flipped[:, 0, y, x] for y in (2, 29) for x in (2, 29)], 1)
    assert len(set(corners.argmax(1).tolist())) == directions


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "min_area", "stretch"])
def test_each_picture_of_a_batch_has_its_own_draw(name: str) -> None:
    value = {"min_area": 0.3, "stretch": 2.0}.get(name, 0.5)
    batch = augmented(still_but(**{name: value}), pictures(1).repeat(6, 1, 1, 1))
    assert len({tuple(picture.flatten().tolist()) for picture in batch}) == 6


def test_rand_augment_draws_operations_for_each_picture() -> None:
    batch = augmented(still_but(rand_augment=15), pictures(1).repeat(12, 1, 1, 1))
    assert len({tuple(picture.flatten().tolist()) for picture in batch}) >= 8


def test_erasing_puts_a_rectangle_of_the_mean_into_some_pictures() -> None:
    white = torch.full((200, 32, 32, 3), 255, dtype=torch.uint8)
    batch = augmented(still_but(erase=0.25), white)
    erased = (batch == 0).all(1)  # 0 is the mean after normalisation; white is 1
    hit = erased.flatten(1).any(1)
    assert 25 < int(hit.sum()) < 75  # of 200, 50 expected; 4 standard deviations
    assert torch.equal(batch[~hit], torch.ones_like(batch[~hit]))
    for mask in erased[hit]:
        rows, columns = mask.any(1), mask.any(0)
        assert torch.equal(mask, rows[:, None] & columns[None])  # a whole rectangle
        assert 0.01 < mask.float().mean() < 0.45


def test_a_recipe_that_mixes_nothing_leaves_pictures_and_labels_alone() -> None:
    batch = plain_batch(pictures(), PLAIN)
    labels = torch.arange(12) % 3
    pictures_after, targets = mixed(Augment(), batch, labels, 3)
    assert torch.equal(pictures_after, batch)
    assert torch.equal(targets, torch.eye(3)[labels])


@pytest.mark.parametrize("how", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_mixed_targets_are_distributions_over_at_most_two_classes(how: dict[str, float]) -> None:
    batch, labels = plain_batch(pictures(), PLAIN), torch.arange(12) % 3
    first, targets = mixed(Augment(**how), batch, labels, 3)
    assert first.shape == batch.shape
    assert (targets.shape, targets.dtype) == ((12, 3), torch.float32)
    torch.testing.assert_close(targets.sum(1), torch.ones(12))
    assert int((targets > 0).sum(1).max()) <= 2
    again, targets_again = mixed(Augment(**how), batch, labels, 3)
    assert torch.equal(first, again)
    assert torch.equal(targets, targets_again)


def black_and_white(count: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of zeros (class 0) and of ones (class 1), in file order."""
    labels = torch.arange(count) * 2 // count
    batch = labels.float().view(-1, 1, 1, 1).expand(count, 3, side, side).contiguous()
    return batch, labels


def test_mixup_blends_pictures_in_the_proportion_of_their_targets() -> None:
    batch, targets = mixed(Augment(mixup=1.0), *black_and_white(16, 8), 2)
    assert torch.equal(batch, batch[:, :1, :1, :1].expand_as(batch))  # the same everywhere
    torch.testing.assert_close(batch[:, 0, 0, 0], targets[:, 1])
    assert int(((targets > 0.01) & (targets < 0.99)).any(1).sum()) >= 4


def test_cutmix_counts_classes_by_the_area_they_have() -> None:
    batch, targets = mixed(Augment(cutmix=1.0), *black_and_white(16, 16), 2)
    assert set(batch.flatten().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(batch.mean((1, 2, 3)), targets[:, 1])
    assert int(((targets > 0.01) & (targets < 0.99)).any(1).sum()) >= 4


def test_with_both_each_picture_takes_one_of_them() -> None:
    batch, targets = mixed(Augment(mixup=1.0, cutmix=1.0), *black_and_white(200, 16), 2)
    across = ((targets > 0.01) & (targets < 0.99)).any(1)  # mixed with the other class
    values = [set(picture.flatten().tolist()) for picture in batch[across]]
    cut = sum(found <= {0.0, 1.0} for found in values)
    assert len(values) > 50
    assert 0.25 < cut / len(values) < 0.75


def test_each_picture_is_mixed_in_its_own_proportion() -> None:
    _, targets = mixed(Augment(mixup=1.0), *black_and_white(64, 4), 2)
    shares = targets[((targets > 0.01) & (targets < 0.99)).any(1), 1]
    assert len(set(shares.tolist())) == len(shares) > 16


def test_pictures_are_mixed_across_classes_though_batches_come_class_by_class() -> None:
    _, targets = mixed(Augment(mixup=1.0), *black_and_white(64, 4), 2)
    across = int(((targets > 0).sum(1) == 2).sum())
    assert 16 < across < 48  # half of them by chance; neighbours alone would make two
