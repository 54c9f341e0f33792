"""How an artifact answers many pictures, as counts: what answers in the field are compared with."""

from bisect import bisect_right
from typing import Annotated

import msgspec

from edgetl.core.schema import Frozen

CONFIDENCE_EDGES = (
    0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9,
    0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999,
)  # fmt: skip
"""What separates the bins of confidences; they are finer where most confidences are."""

DISTANCE_EDGES = (
    0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95,
    1.001, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.35, 1.4, 1.45, 1.5, 1.75, 2.0, 2.5, 3.0,
)  # fmt: skip
"""What separates the bins of distances, as fractions of the rule's largest distance.

Some pictures of a profile lie at that largest distance itself: 1 is no edge, or rounding would
decide on which side they are.
"""

# More than any device answers, and few enough for sums of them to be 64-bit integers.
Count = Annotated[int, msgspec.Meta(ge=0, le=10**15)]
ConfidenceCounts = Annotated[
    tuple[Count, ...],
    msgspec.Meta(min_length=len(CONFIDENCE_EDGES) + 1, max_length=len(CONFIDENCE_EDGES) + 1),
]
DistanceCounts = Annotated[
    tuple[Count, ...],
    msgspec.Meta(min_length=len(DISTANCE_EDGES) + 1, max_length=len(DISTANCE_EDGES) + 1),
]


class Profile(Frozen, kw_only=True, frozen=True):
    """How an artifact answered pictures: in a bundle, the held-out ones.

    A bin holds the pictures from its lower edge up to, but without, its upper one.

    Attributes:
        images: how many pictures there were.
        classes: for each label, in the manifest's order, of how many it was the likeliest.
        confidence: the number of pictures in each bin of the likeliest class's calibrated
            probability (`edgetl.bundle.profile.CONFIDENCE_EDGES`).
        distance: the same for the distance to the training pictures, as a fraction of the rule's
            limit (`edgetl.bundle.profile.DISTANCE_EDGES`); None: there is no distance.
        unknown: how many pictures the rule for unknown pictures calls unknown; None: it was not
            used.
    """

    images: Count
    classes: tuple[Count, ...]
    confidence: ConfidenceCounts
    distance: DistanceCounts | None = None
    unknown: Count | None = None

    def __post_init__(self) -> None:
        counted = [sum(self.classes), sum(self.confidence)]
        if self.distance is not None:
            counted.append(sum(self.distance))
        if any(count != self.images for count in counted) or (self.unknown or 0) > self.images:
            raise ValueError("the counts of a profile do not add up to its number of pictures")


def confidence_bin(confidence: float) -> int:
    """The bin of a probability, 0 to `len(CONFIDENCE_EDGES)`."""
    return bisect_right(CONFIDENCE_EDGES, confidence)


def distance_bin(distance: float) -> int:
    """The bin of a distance, 0 to `len(DISTANCE_EDGES)`."""
    return bisect_right(DISTANCE_EDGES, distance)
