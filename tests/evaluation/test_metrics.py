import math

import msgspec
import numpy as np
import pytest

from edgetl.bundle.reports import AccuracyReport, Interval
from edgetl.core.errors import EdgetlError
from edgetl.evaluation.metrics import (
    accuracy_report,
    confusion_matrix,
    expected_drop,
    roc_auc,
    top_k_accuracy,
)
from edgetl.evaluation.temperature import (
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)
from edgetl.runtime.softmax import softmax

# By hand: cat 2 of 3 right, dog 1 of 2 right, hen 1 of 1; one cat called dog, one dog called hen.
TRUTH = np.array([0, 0, 0, 1, 1, 2])
SAID = np.array([0, 0, 1, 1, 2, 2])
LABELS = ("cat", "dog", "hen")
NONE = np.array([], np.int64)


def saying(classes: np.ndarray, count: int = 3) -> np.ndarray:
    """Logits whose likeliest classes are these."""
    return np.eye(count, dtype=np.float32)[classes]


def odds(*log_odds: float) -> np.ndarray:
    """Logits of two classes, by the log-odds of the second."""
    return np.array([[0, z] for z in log_odds], np.float32)


def numbers(report: AccuracyReport) -> list[float]:
    """Every number in a report."""

    def inside(value: object) -> list[float]:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            return [n for item in value for n in inside(item)]
        return [float(value)] if isinstance(value, int | float) else []

    return inside(msgspec.to_builtins(report))


def test_the_confusion_matrix_has_true_classes_as_rows() -> None:
    assert confusion_matrix(TRUTH, SAID, 3).tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]


def test_scores_agree_with_those_worked_out_by_hand() -> None:
    report = accuracy_report(TRUTH, saying(SAID), LABELS, subject="hand", skipped=4)
    assert report.top1 == pytest.approx(4 / 6)
    assert [c.precision for c in report.per_class] == pytest.approx([1, 1 / 2, 1 / 2])
    assert [c.recall for c in report.per_class] == pytest.approx([2 / 3, 1 / 2, 1])
    assert [c.f1 for c in report.per_class] == pytest.approx([4 / 5, 1 / 2, 2 / 3])
    assert report.macro_precision == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert report.macro_recall == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert report.balanced_accuracy == report.macro_recall
    assert report.macro_f1 == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert report.weighted_precision == pytest.approx((3 * 1 + 2 / 2 + 1 / 2) / 6)
    assert report.weighted_recall == pytest.approx(4 / 6)
    assert report.weighted_f1 == pytest.approx((3 * 4 / 5 + 2 / 2 + 2 / 3) / 6)
    assert [c.images for c in report.per_class] == [3, 2, 1]
    assert (report.images, report.skipped, report.subject) == (6, 4, "hand")
    assert report.confusion == ((2, 1, 0), (0, 1, 1), (0, 0, 1))
    assert report.labels == LABELS
    assert (report.roc_auc, report.roc_auc_interval, report.positive) == (None, None, None)


def test_a_class_without_pictures_stays_out_of_the_means() -> None:
    report = accuracy_report(np.array([0, 0]), saying(np.array([0, 2])), LABELS, subject="s")
    assert report.macro_recall == report.weighted_recall == pytest.approx(1 / 2)
    assert report.macro_f1 == report.weighted_f1 == pytest.approx(2 / 3)
    hen = report.per_class[2]
    assert (hen.images, hen.precision, hen.recall, hen.f1) == (0, 0.0, 0.0, 0.0)


def test_nothing_at_all_scores_zero_and_could_be_anything() -> None:
    report = accuracy_report(NONE, np.zeros((0, 2), np.float32), ("a", "b"), subject="s")
    assert (report.top1, report.macro_f1, report.images) == (0.0, 0.0, 0)
    assert (report.ece_after, report.nll_after) == (0.0, 0.0)
    assert report.top1_interval == report.macro_f1_interval == Interval(low=0.0, high=1.0)
    assert (report.roc_auc, report.positive) == (None, "b")
    assert all(map(math.isfinite, numbers(report)))


def test_one_picture_scores_itself() -> None:
    logits = odds(math.log(3))
    report = accuracy_report(np.array([1]), logits, ("a", "b"), subject="s", temperature=0.5)
    certain = Interval(low=1.0, high=1.0)
    assert (report.top1, report.balanced_accuracy, report.weighted_f1) == (1.0, 1.0, 1.0)
    assert (report.top1_interval, report.macro_f1_interval) == (certain, certain)
    # Odds of 3 are 3/4; at temperature 1/2 the odds are squared: 9/10.
    assert (report.nll_before, report.nll_after) == pytest.approx(
        (math.log(4 / 3), math.log(10 / 9))
    )
    assert (report.ece_before, report.ece_after) == pytest.approx((1 / 4, 1 / 10))
    assert (report.roc_auc, report.roc_auc_interval, report.top5) == (None, None, None)
    assert report.temperature == 0.5
    assert all(map(math.isfinite, numbers(report)))


def test_logits_that_are_all_alike_say_the_first_class() -> None:
    report = accuracy_report(np.array([0, 0, 1]), odds(0, 0, 0), ("a", "b"), subject="s")
    assert report.confusion == ((2, 0), (1, 0))
    assert report.top1 == pytest.approx(2 / 3)
    assert (report.roc_auc, report.roc_auc_interval) == (0.5, Interval(low=0.5, high=0.5))
    assert report.nll_before == pytest.approx(math.log(2))
    assert report.ece_before == pytest.approx(2 / 3 - 1 / 2)
    assert all(map(math.isfinite, numbers(report)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_an_error(bad: float) -> None:
    logits = np.array([[0, 1], [bad, 1], [0, 1]], np.float32)
    with pytest.raises(EdgetlError) as caught:
        accuracy_report(np.array([0, 1, 1]), logits, ("a", "b"), subject="onnx-int8")
    assert str(caught.value) == "onnx-int8: 1 of 3 answers hold something that is no number."
    assert caught.value.hint.startswith("the network is damaged, or overflows in this engine")


def test_top_5_is_told_from_six_classes_on() -> None:
    truth, logits = np.arange(6), np.tile(np.arange(6, 0, -1, dtype=np.float32), (6, 1))
    six = accuracy_report(truth, logits, tuple("abcdef"), subject="s")
    assert (six.top1, six.top5) == pytest.approx((1 / 6, 5 / 6))
    five = accuracy_report(truth[:5], logits[:5, :5], tuple("abcde"), subject="s")
    assert five.top5 is None


def test_of_equal_logits_the_lower_class_is_the_likelier() -> None:
    truth, logits = np.arange(4), np.array([[1, 2, 1, 1]] * 4, np.float32)  # 1, 0, 2, 3
    shares = [top_k_accuracy(truth, logits, k) for k in (1, 2, 3, 4)]
    assert shares == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1])
    # One at a time: class 2 is third.
    assert [top_k_accuracy(truth[2:3], logits[2:3], k) for k in (2, 3)] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("truth", "scores", "area"),
    [
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 3 / 4),
        ([0, 1, 0, 1], [1, 1, 0, 2], 3.5 / 4),  # one tie of four pairs
        ([0, 1, 1], [5, 5, 5], 1 / 2),
        ([0, 0, 1], [1, 2, 3], 1),
        ([1, 0, 0], [1, 2, 3], 0),
    ],
)
def test_the_area_is_the_share_of_pairs_in_order_a_tie_counting_half(
    truth: list[int], scores: list[float], area: float
) -> None:
    assert roc_auc(np.array(truth), np.array(scores))[0] == pytest.approx(area)


def test_the_positive_class_is_the_second_label() -> None:
    # good: 0, 2; bad: 1, 3. Of the four pairs bad is above good in three.
    report = accuracy_report(np.array([0, 1, 0, 1]), odds(0, 1, 2, 3), ("good", "bad"), subject="s")
    assert (report.roc_auc, report.positive) == (3 / 4, "bad")


def test_probabilities_that_round_to_one_still_have_an_order() -> None:
    logits = odds(100, 200, 300)
    assert softmax(logits)[:, 1].tolist() == [1.0, 1.0, 1.0]
    assert accuracy_report(np.array([0, 1, 1]), logits, ("a", "b"), subject="s").roc_auc == 1.0


def test_intervals_are_those_of_resampled_pictures(rng: np.random.Generator) -> None:
    truth = (rng.random(150) < 0.3).astype(np.int64)
    logits = odds(*np.round(2 * truth - 1 + rng.normal(size=150), 1))  # rounded: with ties
    report = accuracy_report(truth, logits, ("a", "b"), subject="s")

    drawn = [rng.integers(0, 150, 150) for _ in range(1000)]
    again = [(logits[chosen].argmax(1), truth[chosen], logits[chosen, 1]) for chosen in drawn]
    top1 = [(said == true).mean() for said, true, _ in again]
    f1 = [
        np.mean([2 * ((said == c) & (true == c)).sum() / ((said == c).sum() + (true == c).sum())
                 for c in (0, 1)])
        for said, true, _ in again
    ]  # fmt: skip
    area = []
    for _, true, z in again:
        gaps = z[true == 1][:, np.newaxis] - z[true == 0]
        area.append((np.sign(gaps) + 1).mean() / 2)
    for interval, scores in (
        (report.top1_interval, top1),
        (report.macro_f1_interval, f1),
        (report.roc_auc_interval, area),
    ):
        assert interval is not None
        expected = np.quantile(scores, [0.025, 0.975])
        assert (interval.low, interval.high) == pytest.approx(expected, abs=0.012)


def test_a_score_lies_within_its_interval_with_many_classes(rng: np.random.Generator) -> None:
    truth = rng.integers(0, 40, 400)
    logits = rng.normal(size=(400, 50)).astype(np.float32)  # ten classes have no pictures
    logits[np.arange(400), truth] += 2
    report = accuracy_report(truth, logits, [str(i) for i in range(50)], subject="s")
    for score, interval in (
        (report.top1, report.top1_interval),
        (report.macro_f1, report.macro_f1_interval),
    ):
        assert interval.low < score < interval.high
        assert 0.05 < interval.high - interval.low < 0.15


def test_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    # Two at 9/10, one of them right; two at 3/5, both right: |1 - 1.8| + |2 - 1.2| over 4.
    # In one bin the two gaps would cancel out.
    logits = odds(math.log(9), math.log(9), math.log(1.5), math.log(1.5))
    assert expected_calibration_error(np.array([1, 0, 1, 1]), logits) == pytest.approx(0.4)
    # Three at 9/10 in one bin, two right.
    assert expected_calibration_error(
        np.array([1, 0, 1]), odds(*[math.log(9)] * 3)
    ) == pytest.approx(0.9 - 2 / 3)


def test_likelihood_agrees_with_fractions_worked_out_by_hand() -> None:
    truth, logits = np.array([2, 0]), np.log(np.array([[1, 2, 5], [4, 2, 2]], np.float32))
    expected = -(math.log(5 / 8) + math.log(4 / 8)) / 2
    assert negative_log_likelihood(truth, logits) == pytest.approx(expected)
    at_half = -(math.log(25 / 30) + math.log(16 / 24)) / 2  # odds are squared
    assert negative_log_likelihood(truth, logits, 0.5) == pytest.approx(at_half, abs=1e-6)


def test_a_certain_mistake_still_has_a_finite_likelihood() -> None:
    assert negative_log_likelihood(np.array([0]), odds(3e4), 0.05) == pytest.approx(6e5)


@pytest.mark.parametrize("log_odds", [0.5, 2.0, 8.0])
def test_the_temperature_makes_confidence_equal_accuracy(log_odds: float) -> None:
    # Three of four are right, all equally sure: the best odds are 3.
    truth, logits = np.array([1, 1, 1, 0]), odds(*[log_odds] * 4)
    temperature = fit_temperature(truth, logits)
    assert temperature == pytest.approx(log_odds / math.log(3), rel=1e-9)
    assert softmax(logits, temperature)[:, 1] == pytest.approx([3 / 4] * 4)
    assert expected_calibration_error(truth, logits, temperature) == pytest.approx(0, abs=1e-6)


def test_the_expected_drop_weighs_each_flip_by_what_the_reference_thought() -> None:
    reference = np.log(np.array([[6.0, 3, 1], [6, 3, 1], [5, 4, 1]], np.float32))
    logits = np.eye(3, dtype=np.float32)[[0, 1, 2]]
    assert expected_drop(logits, reference) == pytest.approx([0.0, 0.3, 0.4])
    # At temperature 1/2 odds are squared: 36, 9 and 1 in 46.
    assert expected_drop(logits, reference, 0.5)[1] == pytest.approx(27 / 46)


def test_no_other_temperature_is_likelier(rng: np.random.Generator) -> None:
    truth = rng.integers(0, 4, 200)
    logits = rng.normal(size=(200, 4)).astype(np.float32)
    logits[np.arange(200), truth] += 1
    logits *= 5
    best = fit_temperature(truth, logits)
    least = negative_log_likelihood(truth, logits, best)
    for other in (*np.geomspace(0.05, 20, 50), best * 1.001, best / 1.001):
        assert negative_log_likelihood(truth, logits, float(other)) > least


@pytest.mark.parametrize(
    ("truth", "log_odds", "temperature"),
    [
        ([1, 1, 1, 0], 1e-3, 0.05),  # right, and far too unsure
        ([1, 0, 0, 0], 2.0, 20.0),  # worse than chance: the less sure, the better
        ([1, 1, 1, 1], 2.0, 1.0),  # all right: however sure would be right
        ([1, 0], 0.0, 1.0),  # no temperature changes anything
    ],
)
def test_the_temperature_stays_within_its_bounds(
    truth: list[int], log_odds: float, temperature: float
) -> None:
    fitted = fit_temperature(np.array(truth), odds(*[log_odds] * len(truth)))
    assert fitted == pytest.approx(temperature, rel=1e-9)
    assert 0.05 <= fitted <= 20


def test_no_picture_leaves_the_temperature_at_one() -> None:
    assert fit_temperature(NONE, np.zeros((0, 3), np.float32)) == 1.0


def test_softmax_agrees_with_fractions_worked_out_by_hand() -> None:
    logits = np.log(np.array([[1.0, 2.0, 5.0]], np.float32))
    assert softmax(logits)[0] == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=1e-6)
    assert softmax(2 * logits, temperature=2)[0] == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=1e-6)


def test_softmax_survives_logits_that_overflow_exp() -> None:
    result = softmax(np.array([1000.0, 1000.0, -1000.0], np.float32))
    assert result.dtype == np.float32
    assert result.tolist() == [0.5, 0.5, 0.0]


def test_softmax_leaves_its_input_alone() -> None:
    logits = np.array([1.0, 2.0])
    softmax(logits)
    assert logits.tolist() == [1.0, 2.0]
