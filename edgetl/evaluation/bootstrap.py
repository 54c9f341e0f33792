"""Confidence intervals of scores by the percentile bootstrap.

Efron, "Bootstrap Methods: Another Look at the Jackknife" (1979). A score of N pictures drawn with
replacement depends only on how many pictures of each kind are drawn, and these counts follow a
multinomial distribution. So the counts are drawn directly, without resampling pictures.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.reports import Interval

RESAMPLES = 2000
_SEED = 0
_TAILS = (0.025, 0.975)
_BLOCK = 1 << 21  # counts drawn at once: 16 MiB

Score = Callable[[NDArray[np.int64]], NDArray[np.float64]]


def bootstrap(counts: NDArray[np.int64], score: Score) -> tuple[Interval, ...]:
    """95 % percentile intervals of S scores, with a fixed seed.

    With very few pictures the intervals are too narrow: with one picture, its score is both ends.

    Args:
        counts: int64 [K], all above 0: how many pictures there are of each kind.
        score: takes R resamples of the counts, int64 [R, K]; returns float64 [R, S]. A score that
            is undefined for a resample is NaN, and its interval ignores that resample.
    """
    generator = np.random.default_rng(_SEED)
    shares = counts / counts.sum()
    rows = max(1, _BLOCK // len(counts))
    blocks = [min(rows, RESAMPLES - begin) for begin in range(0, RESAMPLES, rows)]
    drawn = np.concatenate(
        [score(generator.multinomial(counts.sum(), shares, size=size)) for size in blocks]
    )
    return tuple(_interval(column[~np.isnan(column)]) for column in drawn.T)


def _interval(scores: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(scores, _TAILS)
    return Interval(low=float(low), high=float(high))
