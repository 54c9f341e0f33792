"""What brings two domains together, against values computed by hand."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgetl.workstation.training.adaptation.adaptation import ramp  # noqa: E402
from edgetl.workstation.training.adaptation.criterion import information  # noqa: E402
from edgetl.workstation.training.adaptation.losses import (  # noqa: E402
    DomainClassifier,
    coral,
    reverse_gradient,
)
from edgetl.workstation.training.adaptation.order import paired_steps  # noqa: E402


def test_coral_is_the_distance_of_covariances() -> None:
    source = torch.tensor([[0.0, 0.0], [2.0, 0.0]])  # covariance [[2, 0], [0, 0]]
    target = torch.tensor([[1.0, 1.0], [1.0, 5.0]])  # covariance [[0, 0], [0, 8]]
    assert coral(source, target).item() == pytest.approx((2**2 + 8**2) / (4 * 2**2))
    assert coral(source, source + 7).item() == 0


def test_a_reversed_gradient_has_the_other_sign_and_the_factors_size() -> None:
    features = torch.tensor([[1.0, 2.0]], requires_grad=True)
    passed = reverse_gradient(features, torch.tensor(0.25))
    assert torch.equal(passed, features)
    (passed * torch.tensor([[4.0, 8.0]])).sum().backward()
    assert features.grad.tolist() == [[-1.0, -2.0]]


def test_the_classifier_learns_and_the_features_unlearn_what_tells_domains_apart() -> None:
    torch.manual_seed(0)
    classifier = DomainClassifier(2, seed=0)
    shift = torch.tensor([2.0, 0.0], requires_grad=True)
    source, target = torch.randn(64, 2), torch.randn(64, 2)
    trained = [{"params": classifier.parameters(), "lr": 0.05}, {"params": [shift], "lr": 0.02}]
    optimizer = torch.optim.SGD(trained, momentum=0.5)
    first = None
    for _ in range(300):
        optimizer.zero_grad()
        ours, theirs = (reverse_gradient(it, torch.tensor(1.0)) for it in (source, target + shift))
        loss = classifier.loss(ours, theirs)
        first = loss.item() if first is None else first
        loss.backward()
        optimizer.step()
    assert abs(shift[0].item()) < 1.0
    assert first is not None


def test_the_factor_rises_from_nothing_to_one() -> None:
    assert ramp(0) == 0
    assert ramp(0.5) == pytest.approx(2 / (1 + math.exp(-5)) - 1)
    assert 0.999 < ramp(1) < 1


def test_information_is_large_for_sure_and_diverse_answers() -> None:
    sure = np.float32([[9, 0], [0, 9]] * 4) * 10
    assert information(sure, 1.0) == pytest.approx(math.log(2), abs=1e-6)
    assert information(sure[::2], 1.0) == pytest.approx(0, abs=1e-6)  # all of one label
    assert information(np.zeros((8, 2), np.float32), 1.0) == pytest.approx(0, abs=1e-6)
    unsure = np.float32([[1, 0], [0, 1]])
    assert information(unsure, 4.0) < information(unsure, 1.0)


def test_each_step_has_as_many_pictures_of_the_other_domain_behind_the_labelled_ones() -> None:
    labels = np.array([0, 1] * 5)
    steps = paired_steps(labels, 4, 3, "none", torch.Generator().manual_seed(0))
    ours, theirs = zip(*((step[: len(step) // 2], step[len(step) // 2 :]) for step in steps),
                       strict=True)  # fmt: skip
    assert sorted(np.concatenate(ours).tolist()) == list(range(10))
    others = np.concatenate(theirs)
    assert len(others) == 10
    assert set(others.tolist()) == {10, 11, 12, 13}
