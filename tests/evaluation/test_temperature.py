import msgspec
import numpy as np
import pytest

from edgetl.bundle.reports import AccuracyReport
from edgetl.core.schema import convert
from edgetl.evaluation.metrics import accuracy_report
from edgetl.evaluation.temperature import (
    cross_fit,
    expected_calibration_error,
    fit_temperature,
    fixed,
    negative_log_likelihood,
)


def answers(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Classes and logits of a network that is right about two times in three."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, count)
    logits = random.normal(0, 2, (count, 3)).astype(np.float32)
    logits[np.arange(count), truth] += 2
    return truth, logits


def test_the_temperature_that_ships_is_fitted_to_every_picture() -> None:
    truth, logits = answers(100)
    crossed = cross_fit(truth, logits)
    assert crossed.temperature == fit_temperature(truth, logits, doubt=1 / 102)
    assert crossed.source == "test, cross-fitted"


def test_no_picture_is_judged_by_a_temperature_it_was_fitted_with() -> None:
    truth, logits = answers(100)
    before = cross_fit(truth, logits)
    for index in (0, 17, 99):
        other = logits.copy()
        other[index] = -logits[index]  # its own answer changes, and its own temperature does not
        after = cross_fit(truth, other)
        assert after.per_picture[index] == before.per_picture[index]
        assert after.temperature != before.temperature
        assert (after.per_picture != before.per_picture).sum() == 80  # the four other folds


def test_five_folds_have_the_same_share_of_each_class() -> None:
    truth, logits = answers(100)
    crossed = cross_fit(truth, logits)
    temperatures = np.unique(crossed.per_picture)
    assert len(temperatures) == 5
    for label in range(3):
        counts = [(crossed.per_picture[truth == label] == t).sum() for t in temperatures]
        assert max(counts) - min(counts) <= 1


def test_a_fold_has_the_temperature_that_the_others_fit() -> None:
    truth, logits = answers(50)
    crossed = cross_fit(truth, logits)
    for temperature in np.unique(crossed.per_picture):
        others = crossed.per_picture != temperature
        assert fit_temperature(truth[others], logits[others], doubt=1 / 42) == temperature


def test_folds_are_the_same_every_time() -> None:
    truth, logits = answers(30)
    assert (cross_fit(truth, logits).per_picture == cross_fit(truth, logits).per_picture).all()


@pytest.mark.parametrize("count", [2, 3, 4])
def test_fewer_pictures_than_folds_are_left_out_one_by_one(count: int) -> None:
    truth, logits = answers(count, seed=3)
    crossed = cross_fit(truth, logits)
    for index in range(count):
        others = np.arange(count) != index
        expected = fit_temperature(truth[others], logits[others], doubt=1 / (count + 1))
        assert crossed.per_picture[index] == expected


def test_pictures_that_are_all_right_leave_a_little_doubt() -> None:
    truth = np.zeros(98, np.int64)
    logits = np.tile(np.array([[2.0, 0.0]], np.float32), (98, 1))
    # One of 100 is doubted: odds of 99.
    assert cross_fit(truth, logits).temperature == pytest.approx(2 / np.log(99))


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_pictures_leave_the_temperature_at_one(count: int) -> None:
    crossed = cross_fit(*answers(count))
    assert (crossed.temperature, crossed.source) == (1.0, None)
    assert crossed.per_picture.tolist() == [1.0] * count


def test_a_report_judges_each_picture_at_its_own_temperature() -> None:
    truth, logits = answers(60)
    crossed = cross_fit(truth, logits)
    report = accuracy_report(
        truth, logits, ("a", "b", "c"), subject="it", temperature=crossed.temperature,
        judged_at=crossed.per_picture, temperature_from=crossed.source,
    )  # fmt: skip
    divided = logits / crossed.per_picture[:, np.newaxis]
    assert report.ece_after == pytest.approx(expected_calibration_error(truth, divided))
    assert report.nll_after == pytest.approx(negative_log_likelihood(truth, divided))
    assert report.temperature == crossed.temperature
    assert report.temperature_from == "test, cross-fitted"


def test_one_temperature_for_all_is_the_same_as_the_number_alone() -> None:
    truth, logits = answers(20)
    same = fixed(2.0, 20, "validation")
    assert negative_log_likelihood(truth, logits, same.per_picture) == pytest.approx(
        negative_log_likelihood(truth, logits, 2.0)
    )
    assert same.source == "validation"


def test_a_report_of_before_cross_fitting_opens() -> None:
    report = accuracy_report(*answers(5), ("a", "b", "c"), subject="it")
    fields = msgspec.to_builtins(report)
    del fields["temperature_from"]
    assert convert(fields, AccuracyReport, where="report") == report
