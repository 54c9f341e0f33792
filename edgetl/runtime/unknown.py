"""Whether a picture is unlike the training classes: how far its features are from theirs."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.archive import Bundle
from edgetl.bundle.manifest import Artifact
from edgetl.core.errors import BundleError
from edgetl.runtime.heatmap import checked_feature_map

_SHORTEST = 1e-12

UNKNOWN = "unknown"
"""The label of a picture that is too unlike the training classes."""

Features = NDArray[np.float32]
"""What `picture_features` returns, float32 [N, D], one row of length 1 for each picture."""


class ClassStatistics(NamedTuple):
    """Where the training pictures of each class lie among features.

    All classes have one covariance: `variances` along orthonormal `directions`, and the variance
    `rest` along every direction orthogonal to these. With this low rank it is a fraction of the
    network's size, and can be estimated from fewer pictures than there are channels (Moghaddam and
    Pentland 1997, "Probabilistic Visual Learning for Object Representation").

    Attributes:
        means: float32 [classes, D].
        directions: float32 [K, D].
        variances: float32 [K], positive.
        rest: positive.
    """

    means: NDArray[np.float32]
    directions: NDArray[np.float32]
    variances: NDArray[np.float32]
    rest: float


def class_statistics_of(arrays: Mapping[str, NDArray[Any]]) -> ClassStatistics:
    """Make statistics of arrays that have their fields' names, float16 or float32."""
    means, directions, variances, rest = (
        arrays[name].astype(np.float32) for name in ClassStatistics._fields
    )
    return ClassStatistics(means, directions, variances, float(rest))


def read_class_statistics(bundle: Bundle, channels: int) -> ClassStatistics:
    """Read a bundle's statistics of its classes, for feature maps of `channels` channels.

    Raises BundleError if the bundle has none, or they are damaged.
    """
    arrays = bundle.class_statistics()
    try:
        found = class_statistics_of(arrays)
        least = min(found.variances.min(initial=np.inf), found.rest)
        fits = (
            len(found.means) > 0
            and found.means.shape == (len(found.means), 2 * channels)
            and found.directions.shape == (len(found.variances), 2 * channels)
            and found.variances.ndim == 1
            and all(np.isfinite(array).all() for array in found)
            and least > 0
        )
    except (KeyError, ValueError, TypeError) as error:
        raise _damaged(bundle) from error
    if not fits:
        raise _damaged(bundle)
    return found


def _damaged(bundle: Bundle) -> BundleError:
    return BundleError(
        f"'{bundle.path}': the statistics of its classes' features do not fit its artifacts.",
        hint="make the bundle again with `edgetl export`.",
    )


def picture_features(feature_map: NDArray[np.float32]) -> NDArray[np.float32]:
    """Describe a picture by its feature map, float32 [h, w, channels]: float32 [2 x channels].

    The mean of each channel over all places, which is what the last layer reads, says what there
    is in the picture; its standard deviation says how that is spread, which differs between, say, a
    photograph and a uniform texture. Each half is scaled to the same length, and the whole to 1.
    """
    halves = (feature_map.mean(axis=(0, 1)), feature_map.std(axis=(0, 1)))
    lengths = (max(float(np.linalg.norm(half)), _SHORTEST) for half in halves)
    scaled = [half / (length * np.sqrt(2)) for half, length in zip(halves, lengths, strict=True)]
    return np.concatenate(scaled).astype(np.float32)


class ClassDistance:
    """The Mahalanobis distance of pictures' features to the nearest training class.

    Lee et al. 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and
    Adversarial Attacks"; on features of unit length, as in Mueller and Hein 2025, "Mahalanobis++:
    Improving OOD Detection via Feature Normalization": without this, a picture that hardly
    excites the network lies close to every class.
    """

    def __init__(self, statistics: ClassStatistics) -> None:
        means, self._directions, self._variances, self._rest = statistics
        self._means = means
        self._projected_means = means @ self._directions.T
        self._squared_means = (means.astype(np.float64) ** 2).sum(axis=1)

    def __call__(self, features: Features) -> NDArray[np.float64]:
        """Return the distance of each picture of `features`, float64 [N], 0 or more."""
        to_means = (
            (features.astype(np.float64) ** 2).sum(axis=1)[:, np.newaxis]
            - 2 * (features @ self._means.T).astype(np.float64)
            + self._squared_means
        )
        along = (features @ self._directions.T)[:, np.newaxis] - self._projected_means
        squares = along.astype(np.float64) ** 2
        outside = np.maximum(to_means - squares.sum(axis=2), 0.0)
        distances: NDArray[np.float64] = np.sqrt(
            ((squares / self._variances).sum(axis=2) + outside / self._rest).min(axis=1)
        )
        return distances

    def of_map(self, feature_map: NDArray[np.float32] | None) -> float:
        """Return the distance of one picture's feature map, float32 [h, w, channels]."""
        assert feature_map is not None
        return float(self(picture_features(feature_map)[np.newaxis])[0])


class Verdict(NamedTuple):
    """`Prediction.unknown` and `Prediction.distance` of a picture."""

    unknown: bool
    distance: float | None


class UnknownDetector:
    """Tells which pictures an artifact cannot answer, by the rule that its bundle holds.

    Raises BundleError if it holds none, or if the statistics that the rule needs are damaged.
    """

    def __init__(self, bundle: Bundle, artifact: Artifact) -> None:
        if artifact.unknown is None:
            raise BundleError(
                f"'{artifact.name}' of '{bundle.path}' has no rule for unknown pictures.",
                hint="export again with this version of edgetl.",
            )
        self._artifact, self._rule = artifact, artifact.unknown
        self._distance = None
        if self._rule.max_distance is not None and artifact.feature_map is not None:
            channels = artifact.feature_map.shape[-1]
            self._distance = ClassDistance(read_class_statistics(bundle, channels))

    @property
    def has_distance(self) -> bool:
        """Whether the rule looks at features, not only at the confidence."""
        return self._distance is not None

    def __call__(self, confidence: float, feature_map: NDArray[np.float32] | None) -> Verdict:
        """Judge a picture by its likeliest class's probability and its [h, w, channels] map.

        Raises EngineError if the map is not what the bundle describes.
        """
        doubtful = confidence < self._rule.min_confidence
        distance = self.distance(feature_map)
        if distance is None or self._rule.max_distance is None:
            return Verdict(doubtful, None)
        share = distance / self._rule.max_distance
        return Verdict(doubtful or share > 1, share)

    def distance(self, feature_map: NDArray[np.float32] | None) -> float | None:
        """How far a feature map is from the nearest class; None if the rule has no distance."""
        if self._distance is None:
            return None
        return self._distance.of_map(checked_feature_map(feature_map, self._artifact))
