"""Confidence intervals of quantiles, from the sorted durations alone."""

from math import log

import numpy as np
from numpy.typing import NDArray

from edgetl.benchmarking.reports import QuantileInterval

CONFIDENCE = 0.95


def quantile_interval(sorted_ms: NDArray[np.float64], quantile: float) -> QuantileInterval:
    """The distribution-free confidence interval of a quantile, between two order statistics.

    Of n independent calls, the number that are faster than the quantile q is binomial (n, q). The
    l-th and u-th fastest enclose it with a confidence of P(l <= B <= u - 1), whatever the
    durations' distribution (David & Nagaraja, "Order Statistics", 3rd ed. 2003, section 7.1).
    Each tail left out has a probability of at most 2.5 %, so the interval may be wider than
    necessary but never narrower. Calls are not quite independent: what slows one down often slows
    the next.

    Args:
        sorted_ms: durations in milliseconds, ascending, float64 [calls], at least one.
        quantile: between 0 and 1, e.g. 0.9.
    """
    lowest, highest = _ranks(len(sorted_ms), quantile)
    return QuantileInterval(
        low_ms=None if lowest is None else float(sorted_ms[lowest - 1]),
        high_ms=None if highest is None else float(sorted_ms[highest - 1]),
    )


def _ranks(calls: int, quantile: float) -> tuple[int | None, int | None]:
    """Ranks (from 1) of the interval's ends; None if not even the extreme call is a bound."""
    below = np.cumsum(_binomial(calls, quantile))  # below[k]: at most k calls under the quantile
    tail = (1 - CONFIDENCE) / 2
    lowest = int(np.searchsorted(below, tail, side="right"))  # the largest l: P(B <= l - 1) <= tail
    highest = int(np.searchsorted(below, 1 - tail)) + 1  # the smallest u: P(B <= u - 1) >= 1 - tail
    return lowest or None, highest if highest <= calls else None


def _binomial(trials: int, chance: float) -> NDArray[np.float64]:
    """Probabilities of 0 to `trials` successes; logarithms avoid overflow with 10^5 trials."""
    successes = np.arange(1, trials + 1)
    log_choose = np.concatenate([[0.0], np.cumsum(np.log((trials + 1 - successes) / successes))])
    counts = np.arange(trials + 1)
    logs = log_choose + counts * log(chance) + (trials - counts) * log(1 - chance)
    chances: NDArray[np.float64] = np.exp(logs)
    return chances
