"""Fitting when to answer "unknown", and scoring that on foreign pictures."""

import numpy as np
import pytest

from edgetl.evaluation.unknown import (
    fit_appearance_statistics,
    fit_class_statistics,
    fit_limits,
    fit_rule,
    ranking,
    score_foreign,
    strangeness,
    with_distances,
)
from edgetl.runtime.unknown import AppearanceDistance, ClassDistance
from edgetl.runtime.unknown_rule import Limits, Strangeness

CHANNELS = 40


def clouds(count: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes around two means, spread unevenly; class indices [N] and features [N, D]."""
    random = np.random.default_rng(seed)
    classes = np.arange(count) % 2
    means = np.zeros((2, CHANNELS), np.float32)
    means[0, 0] = means[1, 1] = 1
    spread = np.linspace(0.2, 0.01, CHANNELS)
    noise = random.normal(size=(count, CHANNELS)) * spread
    return classes, (means[classes] + noise).astype(np.float32)


def test_the_distance_is_that_of_mahalanobis_where_every_direction_is_kept(monkeypatch) -> None:
    monkeypatch.setattr("edgetl.evaluation.unknown._DIRECTIONS", CHANNELS - 1)
    classes, features = clouds(2000, seed=0)
    distance = ClassDistance(fit_class_statistics(features, classes))
    means = np.stack([features[classes == each].mean(axis=0) for each in (0, 1)])
    around = (features - means[classes]).astype(np.float64)
    inverse = np.linalg.inv(around.T @ around / (len(features) - 2))
    _, others = clouds(50, seed=1)
    expected = [
        min(np.sqrt((row - mean) @ inverse @ (row - mean)) for mean in means) for row in others
    ]
    np.testing.assert_allclose(distance(others), expected, rtol=2e-3)


def test_few_pictures_give_few_directions() -> None:
    classes, features = clouds(20, seed=0)
    statistics = fit_class_statistics(features, classes)
    assert statistics.directions.shape == (6, CHANNELS)  # (20 - 2) // 3
    assert statistics.rest > 0


def test_pictures_all_alike_give_finite_distances() -> None:
    features = np.ones((5, CHANNELS), np.float32)
    distance = ClassDistance(fit_class_statistics(features, np.zeros(5, np.int64)))
    assert distance(features).max() < 0.1
    assert np.isfinite(distance(-features)).all()


def test_a_class_without_pictures_has_no_mean() -> None:
    _, features = clouds(20, seed=0)
    statistics = fit_class_statistics(features, np.full(20, 3))
    assert statistics.means.shape == (1, CHANNELS)


def test_appearance_is_measured_in_standard_deviations() -> None:
    values = np.random.default_rng(0).normal(5, [1, 10], size=(4000, 2)).astype(np.float32)
    distance = AppearanceDistance(fit_appearance_statistics(values))
    np.testing.assert_allclose(
        distance(np.array([[5, 5], [8, 5], [5, 35]], np.float32)), [0, 3, 3], atol=0.2
    )


def test_one_picture_or_pictures_all_alike_have_a_finite_appearance() -> None:
    for values in (np.ones((1, 3), np.float32), np.ones((9, 3), np.float32)):
        distance = AppearanceDistance(fit_appearance_statistics(values))
        assert distance(values).max() < 1e-3
        assert np.isfinite(distance(values + 100)).all()


def test_the_limits_answer_95_percent_of_further_pictures() -> None:
    random = np.random.default_rng(0)
    shares = []
    for _ in range(1000):
        scores = random.uniform(size=(3, 300))
        drawn = Strangeness(*scores)
        limits = fit_limits(drawn.of(np.arange(300) < 100))
        shares.append(drawn.of(np.arange(300) >= 100).answered(limits).mean())
    assert np.mean(shares) == pytest.approx(0.951, abs=0.003)


def test_without_features_and_appearance_the_confidence_alone_decides() -> None:
    limits = fit_limits(Strangeness(np.arange(1, 101) / 100, None, None))
    assert limits == Limits(pytest.approx(0.05, rel=1e-4), None, None)  # the 96th of 100 in doubt


@pytest.mark.parametrize("count", [1, 2, 18])
def test_few_pictures_are_all_answered(count: int) -> None:
    own = Strangeness(*np.linspace([0.5, 1, 1], [1, 3, 4], count).T)
    assert own.answered(fit_limits(own)).all()


def test_the_rule_is_measured_on_pictures_that_it_was_not_fitted_to() -> None:
    features = np.arange(1, 101, dtype=float)
    truth = np.zeros(100, np.int64)
    predicted = (features > 98).astype(np.int64)  # the two farthest are wrong
    rule = fit_rule(Strangeness(np.ones(100), np.ones(100), features), truth, predicted, "test")
    assert (rule.images, rule.part) == (100, "test")
    assert (rule.min_confidence, rule.max_appearance_distance) == pytest.approx((1, 1), rel=1e-4)
    assert rule.max_feature_distance == pytest.approx(98, rel=1e-4)  # ceil(0.97 x 101)
    assert 0.94 <= rule.answered <= 0.98
    assert rule.top1 == 1.0  # those that are wrong are not answered


def test_pictures_without_labels_have_no_accuracy() -> None:
    classes = np.zeros(30, np.int64)
    own = Strangeness(np.ones(30), None, np.arange(30.0))
    assert fit_rule(own, classes, classes, "unlabelled").top1 is None


def test_foreign_pictures_are_told_by_distance_and_by_confidence() -> None:
    own = Strangeness(np.linspace(0.8, 1, 20), np.ones(20), np.arange(1.0, 21))
    foreign = Strangeness(
        np.array([0.9, 0.9, 0.9, 0.1]), np.array([1, 1, 60, 1]), np.array([5.5, 30, 3, 2])
    )
    score = score_foreign("things", own, foreign, Limits(0.5, 2.0, 20.0))
    assert (score.folder, score.images) == ("things", 4)
    # The third is far by its appearance. One of a picture's own 20 scores 0.5 by it: 10 of 20.
    own_score, foreign_score = ranking(own, Limits(0.5, 2.0, 20.0)), [0.5, 1.5, 30, 0.5]
    wins = [(own_score < f).sum() + (own_score == f).sum() / 2 for f in foreign_score]
    assert score.auroc == pytest.approx(sum(wins) / 80)
    assert score.confidence_auroc == pytest.approx((10 * 3 + 20) / 80)
    assert score.fpr95 == 0.5
    assert score.answered == 0.25  # the last is near, but the network is not confident
    assert score.auroc_interval.low < score.auroc < score.auroc_interval.high


def test_without_features_doubt_and_appearance_rank_pictures() -> None:
    limits = Limits(0.5, 2.0, None)
    strange = Strangeness(np.array([1.0, 0.5, 0.75]), np.array([1.0, 1.0, 4.0]), None)
    np.testing.assert_allclose(ranking(strange, limits), [0.5, 1, 2])
    np.testing.assert_array_equal(strange.answered(limits), [True, True, False])


def test_one_run_over_the_pictures_gives_logits_and_distances() -> None:
    def outputs(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.array([0, float(picture[0, 0, 0])], np.float32), picture.astype(np.float32)

    pictures = np.array([0, 2], np.uint8).reshape(2, 1, 1, 1)
    both = with_distances(outputs, lambda pixels, maps: (float(maps.sum()) + 1, 7.0))(pictures)
    np.testing.assert_array_equal(both, [[0, 0, 1, 7], [0, 2, 3, 7]])
    found = strangeness(both, 2.0, 2)
    np.testing.assert_allclose(found.confidence, [0.5, 1 / (1 + np.exp(-1))])
    np.testing.assert_array_equal(found.appearance, [1, 3])
    np.testing.assert_array_equal(found.features, [7, 7])
    alone = strangeness(with_distances(outputs, None)(pictures), 1.0, 2)
    assert (alone.appearance, alone.features) == (None, None)
