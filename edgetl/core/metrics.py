"""Classification scores from labels and predictions. Numpy only."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgetl.core.reports import AccuracyReport, ClassScore

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]


def class_logits(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a network answers as one logit a class: float32 [N, classes].

    A network with one sigmoid output answers [N, 1]: z, whose sigmoid is the probability of the
    second class. [0, z] says the same to a softmax.
    """
    if logits.shape[-1] != 1:
        return logits
    return np.concatenate([np.zeros_like(logits), logits], axis=-1)


def softmax(logits: Floats, temperature: float = 1.0) -> NDArray[np.float32]:
    """Probabilities over the last axis of `logits` / `temperature` (> 0), as float32."""
    scaled = logits.astype(np.float64) / temperature
    exponents = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float64] = exponents / exponents.sum(axis=-1, keepdims=True)
    return probabilities.astype(np.float32)


def confusion_matrix(truth: Ints, predicted: Ints, classes: int) -> NDArray[np.int64]:
    """Counts [classes, classes]: row = true class, column = predicted class."""
    flat = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)


def accuracy_report(
    truth: Ints, predicted: Ints, labels: Sequence[str], *, subject: str, skipped: int = 0
) -> AccuracyReport:
    """Score predictions. A score with nothing to divide by is 0.

    Args:
        truth: class indices, int [N], 0 to len(labels) - 1.
        predicted: likewise.
        labels: the classes' names; a class without pictures is left out of the macro means.
        subject: what was measured, e.g. "tflite-int8 through litert 2.3.0".
        skipped: pictures that could not be read.
    """
    matrix = confusion_matrix(truth, predicted, len(labels))
    right = np.diag(matrix).astype(np.float64)
    support, called = matrix.sum(axis=1), matrix.sum(axis=0)
    recall = right / np.maximum(support, 1)
    precision = right / np.maximum(called, 1)
    f1 = 2 * right / np.maximum(support + called, 1)
    present = support > 0
    return AccuracyReport(
        subject=subject,
        top1=float(right.sum() / max(1, support.sum())),
        macro_precision=_mean(precision, present),
        macro_recall=_mean(recall, present),
        macro_f1=_mean(f1, present),
        images=int(support.sum()),
        skipped=skipped,
        per_class=tuple(
            ClassScore(
                label=label,
                images=int(support[i]),
                precision=float(precision[i]),
                recall=float(recall[i]),
                f1=float(f1[i]),
            )
            for i, label in enumerate(labels)
        ),
        labels=tuple(labels),
        confusion=tuple(tuple(int(n) for n in row) for row in matrix),
    )


def _mean(scores: NDArray[np.float64], present: NDArray[np.bool_]) -> float:
    return float(scores[present].mean()) if present.any() else 0.0
