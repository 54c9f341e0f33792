import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402, N812

from edgetl.workstation.backbones.build import class_logits  # noqa: E402
from edgetl.workstation.training.loss import Objective, class_weights, epoch_order  # noqa: E402
from tests.workstation.training.tiny import recipe  # noqa: E402

CPU = torch.device("cpu")
NINE_TO_ONE = np.repeat([0, 1], [90, 10])


def objective(labels: np.ndarray, *more: str, classes: int = 2) -> Objective:
    settings = recipe("finetune.label_smoothing=0", "finetune.imbalance=none", *more).finetune
    return Objective(labels, classes, settings, CPU)


def one_hot(*labels: int) -> torch.Tensor:
    return F.one_hot(torch.tensor(labels), 2).float()


def test_even_classes_weigh_the_same() -> None:
    labels = np.repeat([0, 1], [15, 10])  # at most 1.5 times as many
    assert class_weights(labels, 2, "auto").tolist() == [1.0, 1.0]


def test_auto_weighs_uneven_classes_by_the_inverse_root_of_their_share() -> None:
    # 1/sqrt(90) and 1/sqrt(10), times 100 / (sqrt(90) + sqrt(10)).
    assert class_weights(NINE_TO_ONE, 2, "auto").tolist() == pytest.approx([0.833333, 2.5])


def test_weights_are_the_inverse_shares() -> None:
    assert class_weights(NINE_TO_ONE, 2, "weights").tolist() == pytest.approx([5 / 9, 5.0])


@pytest.mark.parametrize("imbalance", ["auto", "weights"])
def test_weights_have_mean_one_over_the_pictures(imbalance: str) -> None:
    labels = np.repeat([0, 1, 2], [50, 5, 20])
    weights = class_weights(labels, 3, imbalance).numpy()
    assert weights[labels].mean() == pytest.approx(1)


@pytest.mark.parametrize("imbalance", ["none", "sampling", "logit-adjustment"])
def test_other_ways_leave_the_loss_unweighted(imbalance: str) -> None:
    assert class_weights(NINE_TO_ONE, 2, imbalance).tolist() == [1.0, 1.0]


def test_the_plain_loss_is_the_cross_entropy() -> None:
    loss = objective(NINE_TO_ONE)(torch.tensor([[0.0, 2.0]]), one_hot(0))
    assert float(loss) == pytest.approx(math.log(1 + math.e**2))


def test_a_weighted_loss_counts_each_picture_by_its_class() -> None:
    loss = objective(NINE_TO_ONE, "finetune.imbalance=weights")(torch.zeros(2, 2), one_hot(0, 1))
    assert float(loss) == pytest.approx(math.log(2) * (5 / 9 + 5) / 2)


def test_logit_adjustment_adds_the_log_shares() -> None:
    adjusted = objective(NINE_TO_ONE, "finetune.imbalance=logit-adjustment")
    # Equal logits then mean the classes' shares, 0.9 and 0.1.
    assert float(adjusted(torch.zeros(1, 2), one_hot(0))) == pytest.approx(-math.log(0.9))
    assert float(adjusted(torch.zeros(1, 2), one_hot(1))) == pytest.approx(-math.log(0.1))


def test_label_smoothing_spreads_its_part_over_all_classes() -> None:
    smoothed = objective(NINE_TO_ONE, "finetune.label_smoothing=0.2")
    right, wrong = -math.log(1 / (1 + math.e**-2)), -math.log(1 / (1 + math.e**2))
    expected = 0.9 * right + 0.1 * wrong
    assert float(smoothed(torch.tensor([[2.0, 0.0]]), one_hot(0))) == pytest.approx(expected)


def test_soft_targets_are_the_mean_of_both_labels_losses() -> None:
    plain, logits = objective(NINE_TO_ONE), torch.tensor([[0.3, -1.2]])
    mixed = plain(logits, torch.tensor([[0.25, 0.75]]))
    expected = 0.25 * plain(logits, one_hot(0)) + 0.75 * plain(logits, one_hot(1))
    assert float(mixed) == pytest.approx(float(expected))


def test_one_logit_is_trained_by_its_binary_cross_entropy() -> None:
    logits = torch.tensor([[-1.5], [0.2], [3.0]])
    loss = objective(NINE_TO_ONE)(class_logits(logits), one_hot(0, 1, 1))
    expected = F.binary_cross_entropy_with_logits(logits[:, 0], torch.tensor([0.0, 1.0, 1.0]))
    assert float(loss) == pytest.approx(float(expected))


@pytest.mark.parametrize("imbalance", ["auto", "none", "weights", "logit-adjustment"])
def test_an_epoch_shows_every_picture_once_in_another_order(imbalance: str) -> None:
    generator = torch.Generator().manual_seed(0)
    first = epoch_order(NINE_TO_ONE, imbalance, generator)
    second = epoch_order(NINE_TO_ONE, imbalance, generator)
    assert sorted(first) == sorted(second) == list(range(100))
    assert first.tolist() != second.tolist()


def test_sampling_shows_the_classes_equally_often() -> None:
    labels = np.repeat([0, 1, 2], [2700, 200, 100])
    order = epoch_order(labels, "sampling", torch.Generator().manual_seed(0))
    assert len(order) == 3000
    # 1000 +- 5 standard deviations of sqrt(3000 * 1/3 * 2/3).
    assert np.abs(np.bincount(labels[order]) - 1000).max() < 5 * math.sqrt(3000 * 2 / 9)


@pytest.mark.parametrize("imbalance", ["none", "sampling"])
def test_the_order_repeats_with_its_seed(imbalance: str) -> None:
    one, again = (
        epoch_order(NINE_TO_ONE, imbalance, torch.Generator().manual_seed(7)) for _ in range(2)
    )
    assert one.tolist() == again.tolist()
