"""An artifact beside the torch model, picture by picture."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.manifest import ClassDrop
from edgetl.bundle.reports import Interval
from edgetl.evaluation.accuracy import Answers
from edgetl.evaluation.bootstrap import bootstrap

Ints = NDArray[np.int64]

# The least part of pictures that artifacts of one network must answer alike. One picture may always
# differ: it is a near-tie as likely as not.
_FLOAT_AGREEMENT = 0.999
_INT8_AGREEMENT = 0.97


class Flips(NamedTuple):
    """Pictures that only the reference, or only the other, got right.

    Attributes:
        lost, won: how many.
        interval_pp: of the drop (lost - won) in points of top-1, the middle 95 % of paired
            bootstrap resamples: each picture brings both answers along.
    """

    lost: int
    won: int
    interval_pp: Interval


def count_flips(truth: Ints, reference: Ints, other: Ints) -> Flips:
    """Compare two models' answers to the same pictures, class indices int64 [N] each."""
    was, now = reference == truth, other == truth
    lost, won = int((was & ~now).sum()), int((now & ~was).sum())
    counts = np.array([lost, won, len(truth) - lost - won])
    signs = np.array([1.0, -1.0, 0.0])
    kinds = np.flatnonzero(counts)

    def drop_pp(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        drops: NDArray[np.float64] = 100 * (drawn @ signs[kinds]) / len(truth)
        return drops[:, np.newaxis]

    (interval,) = bootstrap(counts[kinds], drop_pp)
    return Flips(lost, won, interval)


def worst_class(
    truth: Ints, reference: Ints, other: Ints, labels: Sequence[str]
) -> ClassDrop | None:
    """The class whose recall fell most, the first of equals; None where none fell."""
    drops = []
    for index, label in enumerate(labels):
        own = truth == index
        count = int(own.sum())
        lost = int((reference[own] == index).sum()) - int((other[own] == index).sum())
        if lost > 0:
            drops.append(ClassDrop(label=label, images=count, drop_pp=100 * lost / count))
    return max(drops, key=lambda drop: drop.drop_pp, default=None)


def contradictions(answers: Answers, names: Sequence[str]) -> list[str]:
    """What artifacts of one network say too differently, in words.

    float32 artifacts must agree with the torch model, int8 ones with each other.

    Args:
        answers: of "torch" and of every artifact.
        names: the artifacts', e.g. "onnx-int8".
    """
    floats = [(name, "torch") for name in names if name.endswith("-fp32")]
    whole = [name for name in names if "-int8" in name]
    pairs = [(*pair, _FLOAT_AGREEMENT) for pair in floats]
    pairs += [(*pair, _INT8_AGREEMENT) for pair in combinations(whole, 2)]
    images = len(answers.truth)
    found = []
    for name, other, least in pairs:
        agreement = answers.agreement(name, other)
        if images * (1 - agreement) > max(1, images * (1 - least)) + 1e-6:
            found.append(f"{name} and {other} agree on only {agreement:.1%} of {images} pictures.")
    return found
