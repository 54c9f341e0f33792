"""The rule for unknown pictures: its limits, and what they make of pictures' scores."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.manifest import UnknownRule
from edgetl.runtime.softmax import Floats


class Limits(NamedTuple):
    """A rule's limits; the attributes are those of `UnknownRule`."""

    min_confidence: float
    max_appearance_distance: float | None
    max_feature_distance: float | None


def limits_of(rule: UnknownRule) -> Limits:
    """A rule's limits."""
    return Limits(rule.min_confidence, rule.max_appearance_distance, rule.max_feature_distance)


class Strangeness(NamedTuple):
    """How certain a network is of N pictures, and how far they are from the training pictures.

    Attributes:
        confidence: the calibrated probability of the likeliest class, float [N], 0 to 1.
        appearance: distance by appearance (`edgetl.runtime.unknown.AppearanceDistance`), float [N];
            None: not known.
        features: distance to the nearest class (`edgetl.runtime.unknown.ClassDistance`), float [N];
            None: the artifact has no feature map.
    """

    confidence: Floats
    appearance: Floats | None
    features: Floats | None

    def of(self, chosen: NDArray[np.bool_]) -> "Strangeness":
        """The chosen pictures, bool [N]."""
        confidence, appearance, features = (None if part is None else part[chosen] for part in self)
        assert confidence is not None
        return Strangeness(confidence, appearance, features)

    def distance(self, limits: Limits) -> Floats | None:
        """`Prediction.distance`: the larger distance as a share of its limit, float [N].

        None: no distance is known.
        """
        pairs = (
            (self.appearance, limits.max_appearance_distance),
            (self.features, limits.max_feature_distance),
        )
        shares = [d / limit for d, limit in pairs if d is not None and limit is not None]
        return np.max(shares, axis=0) if shares else None

    def answered(self, limits: Limits) -> NDArray[np.bool_]:
        """Which pictures are answered, bool [N]."""
        confident = self.confidence >= limits.min_confidence
        distance = self.distance(limits)
        near: NDArray[np.bool_] = confident if distance is None else confident & (distance <= 1)
        return near
