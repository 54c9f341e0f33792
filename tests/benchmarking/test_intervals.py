from math import comb

import numpy as np
import pytest

from edgetl.benchmarking.intervals import quantile_interval


def within(calls: int, quantile: float, lowest: int, highest: int) -> float:
    """The chance that the quantile lies between two ranks, by exact binomial sums."""
    return sum(
        comb(calls, k) * quantile**k * (1 - quantile) ** (calls - k) for k in range(lowest, highest)
    )


def ranks(calls: int, quantile: float) -> tuple[float | None, float | None]:
    """Durations that are their own ranks, so that the interval shows which it took."""
    found = quantile_interval(np.arange(1.0, calls + 1), quantile)
    return found.low_ms, found.high_ms


def test_the_median_of_ten_lies_between_the_second_and_the_ninth() -> None:
    # The textbook's case: 1 - 2 (1 + 10) / 1024 = 97.9 %; third to eighth is only 89 %.
    assert ranks(10, 0.5) == (2, 9)


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("calls", [500, 1024])
def test_an_interval_holds_95_percent_and_none_that_is_narrower_does(
    calls: int, quantile: float
) -> None:
    low, high = ranks(calls, quantile)
    assert low is not None and high is not None
    assert within(calls, quantile, int(low), int(high)) >= 0.95
    assert (
        sum(  # a rank further in on either side leaves more than 2.5 % out there
            comb(calls, k) * quantile**k * (1 - quantile) ** (calls - k)
            for k in range(int(low) + 1)
        )
        > 0.025
    )
    assert within(calls, quantile, int(high) - 1, calls + 1) > 0.025


def test_too_few_calls_leave_a_side_open() -> None:
    assert ranks(200, 0.99)[1] is None  # all 200 are faster than it one time in seven
    assert ranks(200, 0.99)[0] is not None
    assert ranks(3, 0.5) == (None, None)
    assert ranks(1, 0.9) == (None, None)


def test_a_minute_of_short_calls_is_no_trouble() -> None:
    low, high = ranks(300_000, 0.99)
    # Normal approximation: 297,000 +- 1.96 sqrt(300,000 * 0.99 * 0.01).
    assert low == pytest.approx(297_000 - 107, abs=3)
    assert high == pytest.approx(297_000 + 107, abs=3)


def test_95_of_100_intervals_hold_the_true_quantile(rng: np.random.Generator) -> None:
    truth = -np.log(1 - 0.9)  # of the exponential distribution
    held = 0
    for _ in range(1000):
        found = quantile_interval(np.sort(rng.exponential(size=300)), 0.9)
        assert found.low_ms is not None and found.high_ms is not None
        held += found.low_ms <= truth <= found.high_ms
    assert 940 <= held <= 980
