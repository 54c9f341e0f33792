"""The profile of an artifact's answers to its own held-out pictures."""

from collections.abc import Sequence

import numpy as np

from edgetl.bundle.profile import CONFIDENCE_EDGES, DISTANCE_EDGES, Profile
from edgetl.runtime.softmax import Floats, Ints
from edgetl.runtime.unknown_rule import Limits, Strangeness


def measure_profile(own: Strangeness, predicted: Ints, classes: int, limits: Limits) -> Profile:
    """Count an artifact's answers as `edgetl.collection` counts those in the field.

    Args:
        own: how certain it is of N pictures, and how far they are from its classes.
        predicted: the pictures' likeliest classes, int [N].
        classes: how many classes there are.
        limits: of the rule for unknown pictures.
    """
    distance = own.distance(limits)
    return Profile(
        images=len(predicted),
        classes=tuple(np.bincount(predicted, minlength=classes).tolist()),
        confidence=_counts(own.confidence, CONFIDENCE_EDGES),
        distance=None if distance is None else _counts(distance, DISTANCE_EDGES),
        unknown=int((~own.answered(limits)).sum()),
    )


def _counts(values: Floats, edges: Sequence[float]) -> tuple[int, ...]:
    bins = np.searchsorted(edges, values, side="right")
    return tuple(np.bincount(bins, minlength=len(edges) + 1).tolist())
