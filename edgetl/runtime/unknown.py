"""Whether a picture is unlike the training classes: how far its features are from theirs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.archive import Bundle
from edgetl.bundle.manifest import Artifact
from edgetl.core.errors import BundleError
from edgetl.runtime.heatmap import checked_feature_map

UNKNOWN = "unknown"
"""The label of a picture that is too unlike the training classes."""

Features = NDArray[np.float32]
"""Last feature maps averaged over all places, float32 [N, channels], one row for each picture."""


class ClassStatistics(NamedTuple):
    """Where the training pictures of each class lie among unit-length features.

    All classes have one covariance: `variances` along orthonormal `directions`, and the variance
    `rest` along every direction orthogonal to these. With this low rank it is a fraction of the
    network's size, and can be estimated from fewer pictures than there are channels (Moghaddam and
    Pentland 1997, "Probabilistic Visual Learning for Object Representation").

    Attributes:
        means: float32 [classes, channels].
        directions: float32 [K, channels].
        variances: float32 [K], positive.
        rest: positive.
    """

    means: NDArray[np.float32]
    directions: NDArray[np.float32]
    variances: NDArray[np.float32]
    rest: float


def read_class_statistics(bundle: Bundle, channels: int) -> ClassStatistics:
    """Read a bundle's statistics of its classes' features, which have `channels` channels.

    Raises BundleError if the bundle has none, or they are damaged.
    """
    arrays = bundle.class_statistics()
    try:
        means, directions, variances, rest = (
            arrays[name].astype(np.float32) for name in ClassStatistics._fields
        )
        fits = (
            means.shape == (len(means), channels)
            and directions.shape == (len(variances), channels)
            and variances.shape == (len(variances),)
            and rest.shape == ()
            and all(np.isfinite(array).all() for array in (means, directions, variances, rest))
            and min(variances.min(initial=np.inf), rest) > 0
            and len(means) > 0
        )
    except (KeyError, ValueError, TypeError) as error:
        raise _damaged(bundle) from error
    if not fits:
        raise _damaged(bundle)
    return ClassStatistics(means, directions, variances, float(rest))


def _damaged(bundle: Bundle) -> BundleError:
    return BundleError(
        f"'{bundle.path}': the statistics of its classes' features do not fit its artifacts.",
        hint="make the bundle again with `edgetl export`.",
    )


def pooled(feature_map: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average a feature map, float32 [h, w, channels], over its places: float32 [channels]."""
    mean: NDArray[np.float32] = feature_map.mean(axis=(0, 1))
    return mean


def unit_length(features: Features) -> Features:
    """Scale each picture's features to Euclidean length 1; a row of zeros stays as it is."""
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    scaled: Features = features / np.maximum(lengths, np.finfo(np.float32).tiny)
    return scaled


class ClassDistance:
    """The Mahalanobis distance of a picture's features to the nearest training class.

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
        unit = unit_length(features)
        to_means = (
            (unit.astype(np.float64) ** 2).sum(axis=1)[:, np.newaxis]
            - 2 * (unit @ self._means.T).astype(np.float64)
            + self._squared_means
        )
        along = (unit @ self._directions.T)[:, np.newaxis] - self._projected_means
        squares = along.astype(np.float64) ** 2
        outside = np.maximum(to_means - squares.sum(axis=2), 0.0)
        distances: NDArray[np.float64] = np.sqrt(
            ((squares / self._variances).sum(axis=2) + outside / self._rest).min(axis=1)
        )
        return distances


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
        checked = checked_feature_map(feature_map, self._artifact)
        return float(self._distance(pooled(checked)[np.newaxis])[0])
