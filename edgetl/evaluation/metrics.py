"""Classification scores from labels and logits, with numpy only."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.reports import AccuracyReport, ClassScore, Interval, TemperatureSource
from edgetl.core.errors import EdgetlError
from edgetl.evaluation.bootstrap import bootstrap
from edgetl.evaluation.temperature import expected_calibration_error, negative_log_likelihood
from edgetl.runtime.softmax import Doubles, Floats, Ints, Temperatures, log_softmax

_TOP = 5
_UNKNOWN = Interval(low=0.0, high=1.0)


def confusion_matrix(truth: Ints, predicted: Ints, classes: int) -> NDArray[np.int64]:
    """Counts of pictures, int64 [classes, classes]: row = true class, column = predicted class.

    `truth` and `predicted`: class indices, int [N].
    """
    flat = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)


def top_k_accuracy(truth: Ints, logits: Floats, k: int) -> float:
    """Fraction (0 to 1) of pictures whose class is among the `k` likeliest.

    Among equal logits the lower class index ranks first, as in argmax.
    `truth`: class indices, int [N]; `logits`: float [N, C].
    """
    own = logits[np.arange(len(truth)), truth][:, np.newaxis]
    before = np.arange(logits.shape[1]) < truth[:, np.newaxis]
    rank = ((logits > own) | ((logits == own) & before)).sum(axis=1)
    return float((rank < k).sum() / max(1, len(truth)))


def roc_auc(truth: Ints, scores: Floats) -> tuple[float, Interval] | tuple[None, None]:
    """Area under the ROC curve of class 1 against class 0, 0 to 1, and its 95 % interval.

    The area is the probability that a picture of class 1 scores above one of class 0, where a tie
    counts half:
    Hanley & McNeil, "The Meaning and Use of the Area under a ROC Curve" (1982).

    Args:
        truth: int [N], 0 or 1.
        scores: float [N], higher for class 1.

    Returns (None, None) if one of the classes has no picture.
    """
    distinct, place = np.unique(scores, return_inverse=True)
    table = np.bincount(truth * len(distinct) + place, minlength=2 * len(distinct))
    kinds = np.flatnonzero(table)

    def score(counts: NDArray[np.int64]) -> Doubles:
        full = np.zeros((len(counts), len(table)), np.int64)
        full[:, kinds] = counts
        negative, positive = full[:, : len(distinct)], full[:, len(distinct) :]
        below = np.cumsum(negative, axis=1) - negative
        wins = (positive * (below + negative / 2)).sum(axis=1)
        pairs = negative.sum(axis=1) * positive.sum(axis=1)
        return np.where(pairs > 0, wins / np.maximum(pairs, 1), np.nan)[:, np.newaxis]

    area = float(score(table[np.newaxis, kinds])[0, 0])
    if np.isnan(area):
        return None, None
    return area, bootstrap(table[kinds], score)[0]


def expected_drop(
    logits: Floats, reference: Floats, temperature: float = 1.0
) -> NDArray[np.float64]:
    """The expected loss of accuracy against a reference network, for each picture.

    It is the reference's probability for its own predicted class minus its probability for the
    class that the other network predicts. The mean over pictures estimates the loss of top-1
    without labels. For few pictures it is far more precise than counting the pictures that became
    right or wrong, because near-ties, which may fall either way, contribute little.

    Args:
        logits: the other network's logits, float [N, C].
        reference: the reference's logits, float [N, C].
        temperature: the temperature that calibrates the reference's probabilities.

    Returns float64 [N], 0 to 1; 0 if both predict the same class.
    """
    likely = np.exp(log_softmax(reference, temperature))
    rows = np.arange(len(likely))
    drop: Doubles = likely[rows, reference.argmax(1)] - likely[rows, logits.argmax(1)]
    return drop


def accuracy_report(
    truth: Ints,
    logits: Floats,
    labels: Sequence[str],
    *,
    subject: str,
    skipped: int = 0,
    temperature: float = 1.0,
    judged_at: Temperatures | None = None,
    temperature_from: TemperatureSource | None = None,
) -> AccuracyReport:
    """Compute all scores of a model from its logits. A score with a zero denominator is 0.

    Args:
        truth: class indices, int [N], 0 to len(labels) - 1.
        logits: float [N, len(labels)]; among equal logits the lower class index is predicted.
        labels: the classes' names; a class without pictures is left out of the macro means.
        subject: what was measured, e.g. "tflite-int8 through litert 2.3.0".
        skipped: number of pictures that could not be read.
        temperature: what the logits are divided by before softmax when the model is used.
        judged_at: the temperature, or float [N] with one for each picture, at which the
            calibration error and the likelihood are computed; None: `temperature`. It is given if
            `temperature` was fitted to these pictures (`edgetl.evaluation.temperature`).
        temperature_from: how `temperature` was fitted.

    Raises EdgetlError if a logit is not a finite number.
    """
    _require_finite(logits, subject)
    matrix = confusion_matrix(truth, logits.argmax(axis=1), len(labels))
    counts = _Counts(np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0))
    precision, recall, f1 = counts.precision(), counts.recall(), counts.f1()
    support, present = counts.support, counts.support > 0
    top1_interval, macro_f1_interval = _confusion_intervals(matrix)
    two = len(labels) == 2
    # Log-odds rank pictures as probabilities do, but different values are not rounded to equal.
    auc, auc_interval = (
        roc_auc(truth, logits[:, 1] - logits[:, 0].astype(np.float64)) if two else (None, None)
    )
    macro_recall = float(_mean(recall, present))
    judged = temperature if judged_at is None else judged_at
    return AccuracyReport(
        subject=subject,
        top1=float(counts.top1()),
        top1_interval=top1_interval,
        top5=top_k_accuracy(truth, logits, _TOP) if len(labels) > _TOP else None,
        balanced_accuracy=macro_recall,
        macro_precision=float(_mean(precision, present)),
        macro_recall=macro_recall,
        macro_f1=float(counts.macro_f1()),
        macro_f1_interval=macro_f1_interval,
        weighted_precision=float(_mean(precision, support)),
        weighted_recall=float(_mean(recall, support)),
        weighted_f1=float(_mean(f1, support)),
        roc_auc=auc,
        roc_auc_interval=auc_interval,
        positive=labels[1] if two else None,
        temperature=temperature,
        temperature_from=temperature_from,
        ece_before=expected_calibration_error(truth, logits),
        ece_after=expected_calibration_error(truth, logits, judged),
        nll_before=negative_log_likelihood(truth, logits),
        nll_after=negative_log_likelihood(truth, logits, judged),
        images=int(support.sum()),
        skipped=skipped,
        per_class=_class_scores(labels, support, precision, recall, f1),
        labels=tuple(labels),
        confusion=tuple(tuple(int(n) for n in row) for row in matrix),
    )


def _class_scores(
    labels: Sequence[str], support: Ints, precision: Floats, recall: Floats, f1: Floats
) -> tuple[ClassScore, ...]:
    return tuple(
        ClassScore(
            label=label,
            images=int(support[i]),
            precision=float(precision[i]),
            recall=float(recall[i]),
            f1=float(f1[i]),
        )
        for i, label in enumerate(labels)
    )


def _require_finite(logits: Floats, subject: str) -> None:
    broken = int((~np.isfinite(logits)).any(axis=1).sum())
    if broken:
        raise EdgetlError(
            f"{subject}: {broken} of {len(logits)} answers hold something that is no number.",
            hint="the network is damaged, or overflows in this engine: try another artifact, or "
            "fine-tune at lower rates.",
        )


class _Counts(NamedTuple):
    """Numbers of pictures per class, int64 [..., C]; leading dimensions are resamples.

    Attributes:
        right: pictures of the class that were classified correctly.
        support: pictures of the class.
        called: pictures classified as the class.
    """

    right: NDArray[np.int64]
    support: NDArray[np.int64]
    called: NDArray[np.int64]

    def precision(self) -> Doubles:
        return self.right / np.maximum(self.called, 1)

    def recall(self) -> Doubles:
        return self.right / np.maximum(self.support, 1)

    def f1(self) -> Doubles:
        both: NDArray[np.int64] = np.maximum(self.support + self.called, 1)
        return 2 * self.right / both

    def top1(self) -> Doubles:
        return _mean(self.recall(), self.support)

    def macro_f1(self) -> Doubles:
        return _mean(self.f1(), self.support > 0)


def _mean(scores: Doubles, weights: NDArray[np.int64] | NDArray[np.bool_]) -> Doubles:
    """Weighted mean over the last axis; 0 if all weights are 0."""
    mean: Doubles = (scores * weights).sum(axis=-1) / np.maximum(weights.sum(axis=-1), 1)
    return mean


def _confusion_intervals(matrix: NDArray[np.int64]) -> tuple[Interval, ...]:
    """The intervals of top-1 and macro F1, from a confusion matrix [C, C]."""
    if not matrix.any():
        return _UNKNOWN, _UNKNOWN
    return _intervals(matrix, lambda c: np.stack([c.top1(), c.macro_f1()], axis=1))


def class_intervals(matrix: NDArray[np.int64]) -> list[tuple[Interval, Interval, Interval]]:
    """The 95 % bootstrap intervals of each class's precision, recall and F1.

    `matrix`: a confusion matrix, int64 [C, C], with at least one picture.
    """
    found = _intervals(
        matrix, lambda c: np.concatenate([c.precision(), c.recall(), c.f1()], axis=1)
    )
    classes = len(matrix)
    return [(found[i], found[classes + i], found[2 * classes + i]) for i in range(classes)]


def top1_interval(right: NDArray[np.bool_]) -> Interval:
    """The 95 % bootstrap interval of top-1; `right`: bool [N], whether each picture is."""
    counts = np.array([(~right).sum(), right.sum()], np.int64)
    return bootstrap(counts, lambda drawn: drawn[:, 1:] / drawn.sum(axis=1, keepdims=True))[0]


def _intervals(
    matrix: NDArray[np.int64], scores: Callable[[_Counts], Doubles]
) -> tuple[Interval, ...]:
    """The 95 % bootstrap intervals of scores, [resamples, scores], from a confusion matrix."""
    true, predicted = np.nonzero(matrix)
    right = true == predicted
    classes = len(matrix)

    def score(drawn: NDArray[np.int64]) -> Doubles:
        return scores(
            _Counts(
                _sum_by(true[right], drawn[:, right], classes),
                _sum_by(true, drawn, classes),
                _sum_by(predicted, drawn, classes),
            )
        )

    return bootstrap(matrix[true, predicted], score)


def _sum_by(group: Ints, counts: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    """Sum the columns of `counts` [R, K] by group, [R, groups]; column k belongs to `group[k]`."""
    order = np.argsort(group, kind="stable")
    present, starts = np.unique(group[order], return_index=True)
    sums = np.zeros((len(counts), groups), np.int64)
    if len(group):
        sums[:, present] = np.add.reduceat(counts[:, order], starts, axis=1)
    return sums
