"""How far a score would move with other pictures of the same kind: the percentile bootstrap.

Efron, "Bootstrap Methods: Another Look at the Jackknife" (1979). A resample of N pictures, drawn
with replacement, changes a score only by how many pictures of each kind are in it, and these
counts are multinomial. So the counts are drawn, and no picture is touched.
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
    """95 % percentile intervals of S scores, the same ones at every call.

    Of very few pictures it is too narrow: one picture's interval is that picture's score.

    Args:
        counts: int64 [K], all above 0: how many pictures there are of each kind.
        score: gives float64 [R, S] for resampled counts int64 [R, K]. A score that a resample
            leaves undefined is NaN, and that resample does not count for it.
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
