"""Comparing the predictions of two models on the same pictures."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.manifest import ClassDrop
from edgetl.bundle.reports import Interval
from edgetl.evaluation.accuracy import ModelLogits
from edgetl.evaluation.bootstrap import bootstrap

Ints = NDArray[np.int64]

# The minimum fraction of pictures for which artifacts of one network must predict the same class.
# One picture may always differ, because it is as likely as not a near-tie.
_FLOAT_AGREEMENT = 0.999
_INT8_AGREEMENT = 0.97


class Flips(NamedTuple):
    """The pictures that only one of two models classified correctly.

    Attributes:
        lost: number of pictures that only the reference classified correctly.
        won: number of pictures that only the other model classified correctly.
        interval_pp: the 95 % interval of the drop (lost - won) in points of top-1, by the paired
            bootstrap: a resampled picture keeps the predictions of both models.
    """

    lost: int
    won: int
    interval_pp: Interval


def count_flips(truth: Ints, reference: Ints, other: Ints) -> Flips:
    """Compare two models' predictions for the same pictures.

    All arguments are class indices, int64 [N].
    """
    before, after = reference == truth, other == truth
    lost, won = int((before & ~after).sum()), int((after & ~before).sum())
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
    """The class whose recall falls most from the reference to the other model.

    Args:
        truth: class indices, int64 [N].
        reference: the reference's predictions, int64 [N].
        other: the other model's predictions, int64 [N].
        labels: the classes' names.

    Returns the first of equals, or None if no class's recall falls.
    """
    drops = []
    for index, label in enumerate(labels):
        own = truth == index
        count = int(own.sum())
        lost = int((reference[own] == index).sum()) - int((other[own] == index).sum())
        if lost > 0:
            drops.append(ClassDrop(label=label, images=count, drop_pp=100 * lost / count))
    return max(drops, key=lambda drop: drop.drop_pp, default=None)


def disagreements(answers: ModelLogits, names: Sequence[str]) -> list[str]:
    """Messages about artifacts of one network whose predictions differ too much.

    float32 artifacts must agree with the torch model, int8 artifacts with each other.

    Args:
        answers: the logits of "torch" and of every artifact.
        names: the artifacts' names, e.g. "onnx-int8".
    """
    floats = [(name, "torch") for name in names if name.endswith("-fp32")]
    int8 = [name for name in names if "-int8" in name]
    pairs = [(*pair, _FLOAT_AGREEMENT) for pair in floats]
    pairs += [(*pair, _INT8_AGREEMENT) for pair in combinations(int8, 2)]
    images = len(answers.truth)
    found = []
    for name, other, minimum in pairs:
        agreement = answers.agreement(name, other)
        if images * (1 - agreement) > max(1, images * (1 - minimum)) + 1e-6:
            found.append(f"{name} and {other} agree on only {agreement:.1%} of {images} pictures.")
    return found
