"""How far two samples' counts are apart, and whether that is chance.

The distance is the population stability index (PSI): the symmetric Kullback-Leibler divergence of
two histograms (Jeffreys 1946; as an index of change: Siddiqi 2006, "Credit Risk Scorecards", where
0.1 is some change and 0.25 a large one). In small samples it is large by chance alone (Yurdakul and
Naranjo 2020, "Statistical properties of the population stability index"), so a permutation test
says how probable so large an index is for two samples of the same kind.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]

_SEED = 0
_MOST_GROUPS = 10
_IMAGES_A_GROUP = 5
# Added to every count, so that an empty one has a logarithm.
_PSEUDO_COUNT = 0.5
# A test ends once so many permutations are at least as far apart: its p-value is then known well
# enough (Besag and Clifford 1991, "Sequential Monte Carlo p-values").
_ENOUGH = 20
_BLOCK = 500
# Of one sample: numpy draws from fewer than 10^9 together.
_MOST_IMAGES = 400_000_000


class Divergence(NamedTuple):
    """The population stability index of two samples, 0 or more, and its p-value."""

    psi: float
    p_value: float


def compare_counts(one: Counts, other: Counts, *, ordered: bool, permutations: int) -> Divergence:
    """Compare two samples by their counts.

    Args:
        one, other: counts of the same bins, int [B]; neither is empty.
        ordered: whether the bins are in an order: neighbours are then joined to at most about ten
            groups that hold similar shares of both samples together. Else rare bins are joined.
        permutations: the smallest p-value is about 1 / `permutations`.
    """
    one, other = _at_most(one), _at_most(other)
    starts, order = _neighbours(one, other) if ordered else _frequent(one, other)
    first, second = (np.add.reduceat(counts[order], starts) for counts in (one, other))
    psi = float(_index(first, second[np.newaxis])[0])
    return Divergence(psi, _p_value(first + second, int(second.sum()), psi, permutations))


def _at_most(counts: Counts) -> Counts:
    """Counts of the same shares, few enough for numpy's draws; more pictures say no more."""
    images = int(counts.sum())
    return counts if images <= _MOST_IMAGES else (counts * (_MOST_IMAGES / images)).astype(np.int64)


def _p_value(pooled: Counts, size: int, psi: float, permutations: int) -> float:
    """The share of random divisions of the pooled pictures that are as far apart.

    The observed division counts as one (Phipson and Smyth 2010, "Permutation P-values should never
    be zero").
    """
    random = np.random.default_rng(_SEED)
    drawn = as_far = 0
    while drawn < permutations and as_far < _ENOUGH:
        second = random.multivariate_hypergeometric(pooled, size, size=_BLOCK, method="marginals")
        as_far += int((_index(pooled - second, second) >= psi - 1e-12).sum())
        drawn += _BLOCK
    return (as_far + 1) / (drawn + 1)


def _index(first: Counts, second: Counts) -> NDArray[np.float64]:
    """The population stability index of counts, int [G] or [R, G], float64 [R]."""
    shares = []
    for counts in (first, second):
        smoothed = counts + _PSEUDO_COUNT
        shares.append(smoothed / smoothed.sum(axis=-1, keepdims=True))
    index: NDArray[np.float64] = ((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum(-1)
    return index


class _Groups(NamedTuple):
    """Bins in a new order, and the places in it where groups begin."""

    starts: NDArray[np.int64]
    order: NDArray[np.int64]


def _neighbours(one: Counts, other: Counts) -> _Groups:
    """Join neighbouring bins.

    This looks at both samples together, which no permutation changes, so that the test is exact.
    """
    pooled = one + other
    most = min(int(one.sum()), int(other.sum())) // _IMAGES_A_GROUP
    target = pooled.sum() / min(_MOST_GROUPS, max(2, most))
    starts, held = [0], 0
    for index, count in enumerate(pooled.tolist()):
        if held and (held >= target or count >= target):
            starts.append(index)
            held = 0
        held += count
    return _Groups(np.array(starts), np.arange(len(pooled)))


def _frequent(one: Counts, other: Counts) -> _Groups:
    """Make each bin of at least five pictures a group, and all others together one."""
    pooled = one + other
    order = np.argsort(-pooled, kind="stable")
    frequent = int((pooled >= _IMAGES_A_GROUP).sum())
    groups = min(frequent + 1, len(pooled))
    return _Groups(np.arange(groups), order)
