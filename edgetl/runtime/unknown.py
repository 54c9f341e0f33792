"""Whether a picture is unlike the training pictures, by its features and its appearance."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.archive import Bundle
from edgetl.bundle.manifest import Artifact
from edgetl.core.errors import BundleError
from edgetl.runtime.appearance import APPEARANCE_VALUES, appearance
from edgetl.runtime.heatmap import checked_feature_map
from edgetl.runtime.preprocess import Pixels
from edgetl.runtime.unknown_rule import Strangeness, limits_of

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


class AppearanceStatistics(NamedTuple):
    """Where the training pictures lie among the values of `edgetl.runtime.appearance`.

    Attributes:
        mean: float32 [V].
        whitening: float32 [V, V]; the product with a difference from the mean has a covariance of
            about 1.
    """

    mean: NDArray[np.float32]
    whitening: NDArray[np.float32]


class TrainingStatistics(NamedTuple):
    """Where the training pictures lie, by appearance and, with a feature map, by features."""

    appearance: AppearanceStatistics
    classes: ClassStatistics | None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that a bundle holds.

        The large ones are in half precision: that moves distances by less than a thousandth.
        """
        arrays = {f"appearance_{name}": v for name, v in self.appearance._asdict().items()}
        if self.classes:
            named = self.classes._asdict()
            half = {name: named[name].astype(np.float16) for name in ("means", "directions")}
            arrays |= named | half
        return arrays


def training_statistics_of(arrays: Mapping[str, NDArray[Any]]) -> TrainingStatistics:
    """Make statistics of what `TrainingStatistics.arrays` returned.

    Raises KeyError, TypeError or ValueError if an array is missing or not of numbers.
    """
    mean, whitening = (
        arrays[f"appearance_{name}"].astype(np.float32) for name in AppearanceStatistics._fields
    )
    appearance = AppearanceStatistics(mean, whitening)
    if "means" not in arrays:
        return TrainingStatistics(appearance, None)
    means, directions, variances, rest = (
        arrays[name].astype(np.float32) for name in ClassStatistics._fields
    )
    classes = ClassStatistics(means, directions, variances, float(rest))
    return TrainingStatistics(appearance, classes)


def read_training_statistics(bundle: Bundle, channels: int) -> TrainingStatistics:
    """Read a bundle's statistics, for feature maps of `channels` channels; 0: of appearance only.

    Raises BundleError if the bundle has none, or they are damaged.
    """
    arrays = bundle.training_statistics()
    try:
        found = training_statistics_of(arrays)
        fits = _appearance_fits(found.appearance) and (
            not channels or _classes_fit(found.classes, channels)
        )
    except (KeyError, ValueError, TypeError) as error:
        raise _damaged(bundle) from error
    if not fits:
        raise _damaged(bundle)
    return found if channels else found._replace(classes=None)


def _appearance_fits(found: AppearanceStatistics) -> bool:
    values = (APPEARANCE_VALUES,)
    shapes = (found.mean.shape, found.whitening.shape)
    return shapes == (values, values * 2) and all(np.isfinite(array).all() for array in found)


def _classes_fit(found: ClassStatistics | None, channels: int) -> bool:
    return (
        found is not None
        and len(found.means) > 0
        and found.means.shape == (len(found.means), 2 * channels)
        and found.directions.shape == (len(found.variances), 2 * channels)
        and found.variances.ndim == 1
        and all(np.isfinite(array).all() for array in found)
        and min(found.variances.min(initial=np.inf), found.rest) > 0
    )


def _damaged(bundle: Bundle) -> BundleError:
    return BundleError(
        f"'{bundle.path}': the statistics of its training pictures do not fit its artifacts.",
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


class AppearanceDistance:
    """The Mahalanobis distance of pictures' appearance to that of the training pictures."""

    def __init__(self, statistics: AppearanceStatistics) -> None:
        self._mean, self._whitening = statistics

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the distance of each picture of `values`, float32 [N, V]: float64 [N]."""
        whitened = ((values - self._mean) @ self._whitening.T).astype(np.float64)
        distances: NDArray[np.float64] = np.linalg.norm(whitened, axis=1)
        return distances


class TrainingDistance:
    """How far a picture is from the training pictures, by appearance and by features."""

    def __init__(self, statistics: TrainingStatistics) -> None:
        self._appearance = AppearanceDistance(statistics.appearance)
        self._classes = ClassDistance(statistics.classes) if statistics.classes else None

    def __call__(
        self, pixels: Pixels, feature_map: NDArray[np.float32] | None
    ) -> tuple[float, ...]:
        """Return a prepared picture's distances: of its appearance and, with a map, its features.

        Args:
            pixels: uint8 [size, size, 3].
            feature_map: float32 [h, w, channels], if the artifact outputs one.
        """
        by_appearance = float(self._appearance(appearance(pixels)[np.newaxis])[0])
        if self._classes is None or feature_map is None:
            return (by_appearance,)
        return by_appearance, float(self._classes(picture_features(feature_map)[np.newaxis])[0])


class Verdict(NamedTuple):
    """`Prediction.unknown` and `Prediction.distance` of a picture."""

    unknown: bool
    distance: float | None


class UnknownDetector:
    """Tells which pictures an artifact cannot answer, by the rule that its bundle holds.

    Attributes:
        distance: of pictures; None: the rule looks at the confidence alone.

    Raises BundleError if the bundle holds no rule, or if the statistics that the rule needs are
    damaged.
    """

    def __init__(self, bundle: Bundle, artifact: Artifact) -> None:
        if artifact.unknown is None:
            raise BundleError(
                f"'{artifact.name}' of '{bundle.path}' has no rule for unknown pictures.",
                hint="export again with this version of edgetl.",
            )
        self._artifact, self._limits = artifact, limits_of(artifact.unknown)
        _, by_appearance, by_features = self._limits
        self.distance: TrainingDistance | None = None
        if by_appearance is not None or by_features is not None:
            maps = artifact.feature_map if by_features is not None else None
            channels = maps.shape[-1] if maps else 0
            self.distance = TrainingDistance(read_training_statistics(bundle, channels))

    def __call__(
        self, confidence: float, pixels: Pixels, feature_map: NDArray[np.float32] | None
    ) -> Verdict:
        """Judge a picture.

        Args:
            confidence: the calibrated probability of its likeliest class.
            pixels: the prepared picture, uint8 [size, size, 3].
            feature_map: what the artifact output beside its logits, float32 [h, w, channels].

        Raises EngineError if the map is not what the bundle describes.
        """
        if self._limits.max_feature_distance is not None:
            feature_map = checked_feature_map(feature_map, self._artifact)
        distances = self.distance(pixels, feature_map) if self.distance else ()
        by_appearance, by_features = (*map(np.atleast_1d, distances), None, None)[:2]
        picture = Strangeness(np.array([confidence]), by_appearance, by_features)
        distance = picture.distance(self._limits)
        return Verdict(
            unknown=not picture.answered(self._limits)[0],
            distance=None if distance is None else float(distance[0]),
        )
