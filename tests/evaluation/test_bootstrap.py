import numpy as np
import pytest

from edgetl.bundle.reports import Interval
from edgetl.evaluation import bootstrap as room
from edgetl.evaluation.bootstrap import RESAMPLES, bootstrap


def share_of_first(drawn: np.ndarray) -> np.ndarray:
    return (drawn[:, 0] / drawn.sum(axis=1))[:, np.newaxis]


def test_a_share_lies_between_the_quantiles_of_the_binomial() -> None:
    # Binomial(100, 0.8) is at most 71 with probability 0.020 and 72 with 0.034, at most 86 with
    # 0.953 and 87 with 0.975.
    (interval,) = bootstrap(np.array([80, 20]), share_of_first)
    assert interval.low == pytest.approx(0.72, abs=0.011)
    assert interval.high == pytest.approx(0.87, abs=0.011)


def test_pictures_of_one_kind_leave_nothing_to_chance() -> None:
    assert bootstrap(np.array([7]), share_of_first) == (Interval(low=1.0, high=1.0),)


def test_two_unlike_pictures_tell_nothing() -> None:
    assert bootstrap(np.array([1, 1]), share_of_first) == (Interval(low=0.0, high=1.0),)


def test_every_resample_is_as_large_as_what_it_was_drawn_from() -> None:
    seen = []

    def score(drawn: np.ndarray) -> np.ndarray:
        seen.append(drawn)
        return np.zeros((len(drawn), 1))

    bootstrap(np.array([3, 2, 1]), score)
    drawn = np.concatenate(seen)
    assert drawn.shape == (RESAMPLES, 3)
    assert RESAMPLES >= 1000
    assert set(drawn.sum(axis=1).tolist()) == {6}
    assert drawn.mean(axis=0) == pytest.approx([3, 2, 1], abs=0.15)


def test_intervals_are_the_same_at_every_call_and_in_blocks_of_any_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = np.array([50, 30, 11])
    whole = bootstrap(counts, share_of_first)
    assert bootstrap(counts, share_of_first) == whole
    monkeypatch.setattr(room, "_BLOCK", 900)
    assert bootstrap(counts, share_of_first) == whole


def test_a_resample_that_leaves_a_score_undefined_does_not_count() -> None:
    def score(drawn: np.ndarray) -> np.ndarray:
        both = (drawn > 0).all(axis=1)
        return np.stack([np.where(both, 0.5, np.nan), share_of_first(drawn)[:, 0]], axis=1)

    assert bootstrap(np.array([1, 1]), score) == (
        Interval(low=0.5, high=0.5),
        Interval(low=0.0, high=1.0),
    )
