"""When to answer "unknown": fitting the rule, and scoring it on foreign pictures."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.manifest import MeasuredPart, UnknownRule
from edgetl.bundle.reports import ForeignScore
from edgetl.evaluation.accuracy import Model, one_by_one
from edgetl.evaluation.folds import assign_folds
from edgetl.evaluation.metrics import roc_auc
from edgetl.runtime.preprocess import Pixels
from edgetl.runtime.softmax import Floats, Ints, softmax
from edgetl.runtime.unknown import (
    AppearanceStatistics,
    ClassStatistics,
    Features,
    TrainingDistance,
)
from edgetl.runtime.unknown_rule import Limits, Strangeness

ANSWERED = 0.95
"""The share of a network's own pictures that the rule is to answer."""

# Of the 5 % of its own pictures that an artifact may refuse, each limit takes a share. The
# confidence only refuses the most doubtful ones if there are features to judge by.
_BY_APPEARANCE = 0.01
_BY_CONFIDENCE = 0.01
# On seven unlike data sets, 64 directions told foreign pictures better than 32 or 256 on the mean
# (docs/decisions/0028-unknown.md). Each direction's variance needs a few pictures.
_DIRECTIONS = 64
_PICTURES_A_DIRECTION = 3
_LEAST_VARIANCE = 1e-9
_LEAST_DEVIATION = 1e-3
_SHRINKAGE = 0.1
_ROUNDING = 1e-9
# The picture whose score is the limit must be answered on the device, too, whatever the rounding.
_MARGIN = 1e-5


def fit_class_statistics(features: Features, classes: Ints) -> ClassStatistics:
    """Estimate where the classes lie among features.

    The directions are the principal components of the features around their classes' means, and
    the variance of the rest is the mean of the others' (probabilistic PCA, Tipping and Bishop
    1999).

    Args:
        features: float32 [N, D], of pictures that the network was trained on.
        classes: their classes, int [N]; a class without pictures has no mean.
    """
    present, index = np.unique(classes, return_inverse=True)
    means = np.stack([features[index == each].mean(axis=0) for each in range(len(present))])
    around = (features - means[index]).astype(np.float64)
    freedom = max(1, len(features) - len(present))
    _, singular, directions = np.linalg.svd(around, full_matrices=False)
    variances = singular**2 / freedom
    count = min(_DIRECTIONS, freedom // _PICTURES_A_DIRECTION, len(variances) - 1)
    others = features.shape[1] - count
    return ClassStatistics(
        means.astype(np.float32),
        directions[:count].astype(np.float32),
        np.maximum(variances[:count], _LEAST_VARIANCE).astype(np.float32),
        max(float(variances[count:].sum()) / others, _LEAST_VARIANCE),
    )


def fit_appearance_statistics(values: NDArray[np.float32]) -> AppearanceStatistics:
    """Estimate where the training pictures lie by appearance.

    The covariance is shrunk by a tenth towards independent values (as in Ledoit and Wolf 2004, "A
    Well-Conditioned Estimator for Large-Dimensional Covariance Matrices", with a fixed share).

    Args:
        values: what `edgetl.runtime.appearance.appearance` returned, float32 [N, V].
    """
    around = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
    deviations = around.std(axis=0) + _LEAST_DEVIATION
    scaled = around / deviations
    correlations = scaled.T @ scaled / max(1, len(values) - 1)
    shrunk = (1 - _SHRINKAGE) * correlations + _SHRINKAGE * np.eye(values.shape[1])
    whitening = np.linalg.inv(np.linalg.cholesky(shrunk)) / deviations
    return AppearanceStatistics(
        values.mean(axis=0, dtype=np.float64).astype(np.float32), whitening.astype(np.float32)
    )


def with_distances(
    outputs: Callable[[Pixels], tuple[NDArray[np.float32], NDArray[np.float32] | None]],
    distance: TrainingDistance | None,
) -> Model:
    """Make a model whose outputs are logits and, in further columns, distances.

    `strangeness` takes them apart again: so one run over the pictures gives both.

    Args:
        outputs: returns one picture's logits, float32 [classes], and feature map.
        distance: of pictures; None: the model's outputs are only logits.
    """

    def one(picture: Pixels) -> NDArray[np.float32]:
        logits, feature_map = outputs(picture)
        distances = distance(picture, feature_map) if distance else ()
        return np.append(logits, np.array(distances, np.float32))

    return one_by_one(one)


def strangeness(outputs: NDArray[np.float32], temperature: float, classes: int) -> Strangeness:
    """Make a `Strangeness` of the outputs of `with_distances`, float32 [N, classes + 0 to 2]."""
    confidence = softmax(outputs[:, :classes], temperature).max(axis=1)
    appearance, features = [*outputs[:, classes:].T, None, None][:2]
    return Strangeness(confidence, appearance, features)


def ranking(strange: Strangeness, limits: Limits) -> Floats:
    """What ranks pictures from the most like the training pictures to the least, float [N].

    The distance; without features, or the doubt as a share of its limit if that is larger.
    """
    distance = strange.distance(limits)
    if distance is not None and strange.features is not None:
        return distance
    doubt = (1 - strange.confidence) / max(1 - limits.min_confidence, _LEAST_DEVIATION)
    return doubt if distance is None else np.maximum(doubt, distance)


def fit_limits(own: Strangeness) -> Limits:
    """Choose limits with which at least 95 % of further pictures like these are answered.

    A limit that answers a share p is the ceil(p (N + 1))-th of N scores: then the share holds on
    the mean over draws of pictures, whatever the scores' distribution (split conformal prediction,
    Papadopoulos et al. 2002). With few pictures it is the largest score. The shares that the limits
    may refuse add up to 5 %.

    Args:
        own: pictures that the network was not trained on; at least one.
    """
    left = 1 - ANSWERED
    by_appearance = by_features = None
    if own.appearance is not None:
        by_appearance = _distance_limit(own.appearance, _BY_APPEARANCE)
        left -= _BY_APPEARANCE
    if own.features is not None:
        by_features = _distance_limit(own.features, left - _BY_CONFIDENCE)
        left = _BY_CONFIDENCE
    confidence = -_quantile(-own.confidence, 1 - left)
    return Limits(confidence * (1 - _MARGIN), by_appearance, by_features)


def _distance_limit(distances: Floats, refused: float) -> float:
    limit = _quantile(distances, 1 - refused) * (1 + _MARGIN)
    return max(limit, float(np.finfo(np.float32).tiny))


def _quantile(scores: Floats, share: float) -> float:
    rank = min(len(scores), math.ceil(share * (len(scores) + 1) - _ROUNDING))
    return float(np.sort(scores)[rank - 1])


def fit_rule(own: Strangeness, truth: Ints, predicted: Ints, part: MeasuredPart) -> UnknownRule:
    """Fit the rule to held-out pictures, and measure on each of them a rule fitted to others.

    Args:
        own: the pictures' scores; at least one picture.
        truth, predicted: their true and predicted classes, int [N].
        part: where they are from.
    """
    labelled = part in ("test", "val")
    answered = np.ones(len(truth), bool)
    folds = assign_folds(truth)
    for fold in np.unique(folds) if len(np.unique(folds)) > 1 else ():
        inside = folds == fold
        answered[inside] = own.of(inside).answered(fit_limits(own.of(~inside)))
    right = (truth == predicted)[answered]
    limits = fit_limits(own)
    return UnknownRule(
        **limits._asdict(),
        images=len(truth),
        part=part,
        answered=float(answered.mean()),
        top1=float(right.mean()) if labelled and len(right) else None,
    )


def score_foreign(
    folder: str, own: Strangeness, foreign: Strangeness, limits: Limits
) -> ForeignScore:
    """Measure how well a network tells foreign pictures from its own; at least one of each.

    Args:
        folder: the name to report.
        own: pictures of the network's classes that it was not trained on.
        foreign: pictures of other things.
        limits: the rule's.
    """
    is_foreign = np.repeat([0, 1], [len(own.confidence), len(foreign.confidence)])
    ours, theirs = ranking(own, limits), ranking(foreign, limits)
    auroc, interval = roc_auc(is_foreign, np.concatenate([ours, theirs]))
    by_confidence, _ = roc_auc(is_foreign, 1 - np.concatenate([own.confidence, foreign.confidence]))
    assert auroc is not None and interval is not None and by_confidence is not None
    return ForeignScore(
        folder=folder,
        images=len(foreign.confidence),
        auroc=auroc,
        auroc_interval=interval,
        confidence_auroc=by_confidence,
        fpr95=float((theirs <= _quantile(ours, ANSWERED)).mean()),
        answered=float(foreign.answered(limits).mean()),
    )
