"""When to answer "unknown": fitting the rule, and scoring it on foreign pictures."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.manifest import MeasuredPart, UnknownRule
from edgetl.bundle.reports import ForeignScore
from edgetl.evaluation.accuracy import Model, one_by_one
from edgetl.evaluation.folds import assign_folds
from edgetl.evaluation.metrics import roc_auc
from edgetl.runtime.preprocess import Pixels
from edgetl.runtime.softmax import Floats, Ints, softmax
from edgetl.runtime.unknown import ClassStatistics, Features

ANSWERED = 0.95
"""The share of a network's own pictures that the rule is to answer."""

# Where there is a distance, the confidence only refuses the most doubtful pictures.
_CONFIDENT = 0.99
# On seven unlike data sets, 64 directions told foreign pictures better than 32 or 256 on the mean
# (docs/decisions/0028-unknown.md). Each direction's variance needs a few pictures.
_DIRECTIONS = 64
_PICTURES_A_DIRECTION = 3
_LEAST_VARIANCE = 1e-9


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


class Strangeness(NamedTuple):
    """How certain a network is of N pictures, and how far they are from its classes.

    Attributes:
        confidence: the calibrated probability of the likeliest class, float [N], 0 to 1.
        distance: to the nearest class (`edgetl.runtime.unknown.ClassDistance`), float [N]; None:
            the artifact has no feature map.
    """

    confidence: Floats
    distance: Floats | None

    @property
    def score(self) -> Floats:
        """What ranks pictures from the most like the training classes to the least, float [N]."""
        return 1 - self.confidence if self.distance is None else self.distance

    def of(self, chosen: NDArray[np.bool_]) -> "Strangeness":
        """The chosen pictures, bool [N]."""
        distance = None if self.distance is None else self.distance[chosen]
        return Strangeness(self.confidence[chosen], distance)

    def answered(self, limits: "Limits") -> NDArray[np.bool_]:
        """Which pictures are answered, bool [N]."""
        confident = self.confidence >= limits.min_confidence
        if self.distance is None or limits.max_distance is None:
            return confident
        near: NDArray[np.bool_] = confident & (self.distance <= limits.max_distance)
        return near


def with_distance(
    outputs: Callable[[Pixels], tuple[NDArray[np.float32], NDArray[np.float32] | None]],
    distance: Callable[[NDArray[np.float32] | None], float | None] | None,
) -> Model:
    """Make a model whose outputs are logits and, in a last column, distances.

    `strangeness` takes them apart again: so one run over the pictures gives both.

    Args:
        outputs: returns one picture's logits, float32 [classes], and feature map.
        distance: of a feature map; None: the model's outputs are only logits.
    """

    def one(picture: Pixels) -> NDArray[np.float32]:
        logits, feature_map = outputs(picture)
        if distance is None:
            return logits.copy()
        return np.append(logits, np.float32(distance(feature_map)))

    return one_by_one(one)


def strangeness(outputs: NDArray[np.float32], temperature: float, classes: int) -> Strangeness:
    """Make a `Strangeness` of the outputs of `with_distance`, float32 [N, classes (+ 1)]."""
    confidence = softmax(outputs[:, :classes], temperature).max(axis=1)
    return Strangeness(confidence, outputs[:, classes] if outputs.shape[1] > classes else None)


class Limits(NamedTuple):
    """A rule's two limits; the attributes are those of `UnknownRule`."""

    min_confidence: float
    max_distance: float | None


def limits_of(rule: UnknownRule) -> Limits:
    """A rule's limits."""
    return Limits(rule.min_confidence, rule.max_distance)


def fit_limits(own: Strangeness) -> Limits:
    """Choose limits with which 95 % of further pictures like these are answered.

    With N pictures, the limit is the ceil(0.95 (N + 1))-th score: then that share holds on the mean
    over draws of pictures, whatever the scores' distribution (split conformal prediction,
    Papadopoulos et al. 2002). With fewer than 19 it is the largest.

    Args:
        own: pictures that the network was not trained on; at least one.
    """
    doubt = 1 - own.confidence
    if own.distance is None:
        return Limits(float(1 - _quantile(doubt, ANSWERED)), None)
    min_confidence = 0.0
    if len(doubt) + 1 >= 1 / (1 - _CONFIDENT):
        min_confidence = float(1 - _quantile(doubt, _CONFIDENT))
    # Pictures that the confidence refuses count as infinitely far, so that the two together keep
    # to the share.
    distance = np.where(own.confidence < min_confidence, np.inf, own.distance)
    limit = _quantile(distance, ANSWERED)
    finite = limit if np.isfinite(limit) else float(own.distance.max())
    return Limits(min_confidence, max(finite, float(np.finfo(np.float32).tiny)))


def _quantile(scores: Floats, share: float) -> float:
    rank = min(len(scores), math.ceil(share * (len(scores) + 1)))
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
        min_confidence=limits.min_confidence,
        max_distance=limits.max_distance,
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
    auroc, interval = roc_auc(is_foreign, np.concatenate([own.score, foreign.score]))
    by_confidence, _ = roc_auc(is_foreign, 1 - np.concatenate([own.confidence, foreign.confidence]))
    assert auroc is not None and interval is not None and by_confidence is not None
    most = _quantile(own.score, ANSWERED)
    return ForeignScore(
        folder=folder,
        images=len(foreign.confidence),
        auroc=auroc,
        auroc_interval=interval,
        confidence_auroc=by_confidence,
        fpr95=float((foreign.score <= most).mean()),
        answered=float(foreign.answered(limits).mean()),
    )
