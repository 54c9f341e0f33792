"""Temperature scaling and calibration errors, with numpy only."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.manifest import MAX_TEMPERATURE, MIN_TEMPERATURE
from edgetl.bundle.reports import TemperatureSource
from edgetl.evaluation.folds import assign_folds
from edgetl.runtime.softmax import Doubles, Floats, Ints, Temperatures, log_softmax

_ECE_BINS = 15


def negative_log_likelihood(truth: Ints, logits: Floats, temperature: Temperatures = 1.0) -> float:
    """Mean of -ln p(true class) at `temperature`, in nats; 0 if there are no pictures.

    `truth`: class indices, int [N]; `logits`: float [N, C].
    """
    chosen = log_softmax(logits, temperature)[np.arange(len(truth)), truth]
    return float(-chosen.sum() / max(1, len(truth)))


def expected_calibration_error(
    truth: Ints, logits: Floats, temperature: Temperatures = 1.0
) -> float:
    """Mean gap between confidence and accuracy over 15 equal-width bins, 0 to 1.

    Guo et al., "On Calibration of Modern Neural Networks" (2017). The confidence is the likeliest
    class's probability at `temperature`; a bin excludes its lower edge.

    `truth`: class indices, int [N]; `logits`: float [N, C].
    """
    confidence, right, bins = confidence_bins(truth, logits, temperature)
    gaps = np.bincount(bins, weights=right - confidence, minlength=_ECE_BINS)
    return float(np.abs(gaps).sum() / max(1, len(truth)))


def confidence_bins(
    truth: Ints, logits: Floats, temperature: Temperatures = 1.0
) -> tuple[Doubles, NDArray[np.bool_], NDArray[np.int64]]:
    """Each picture's confidence, whether it is right, and its bin, for the calibration error.

    The arguments are those of `expected_calibration_error`.
    """
    confidence = np.exp(log_softmax(logits, temperature)).max(axis=1)
    right = logits.argmax(axis=1) == truth
    bins = np.clip(np.ceil(confidence * _ECE_BINS).astype(np.int64) - 1, 0, _ECE_BINS - 1)
    return confidence, right, bins


def fit_temperature(truth: Ints, logits: Floats, doubt: float = 0.0) -> float:
    """The temperature, 0.05 to 20, that minimises the logits' negative log likelihood.

    Guo et al., "On Calibration of Modern Neural Networks" (2017). The likelihood is log-concave
    in 1 / temperature, so the sign of its slope shows on which side the optimum lies.

    Args:
        truth: class indices, int [N], of pictures the network was not trained on.
        logits: float [N, C].
        doubt: the target probability, 0 to 1, of the likeliest class other than the true one; the
            true class gets the rest. With 1 / (N + 2) a few pictures, all classified correctly, do
            not make the network certain (Platt 1999, "Probabilistic Outputs for Support Vector
            Machines").

    Returns 1.0 if there are no pictures, or if `doubt` is 0 and every picture is classified
    correctly: the likelihood then keeps growing as the temperature falls, so the pictures do not
    determine a temperature.
    """
    centred = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    rows = np.arange(len(truth))
    own = centred[rows, truth]
    if doubt:
        others = centred.copy()
        others[rows, truth] = -np.inf
        own = (1 - doubt) * own + doubt * others.max(axis=1)
    if not own.any():
        return 1.0
    low, high = np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE)
    for _ in range(50):  # halves the interval: exact to 1e-14
        middle = (low + high) / 2
        expected = (np.exp(log_softmax(centred, np.exp(middle))) * centred).sum(axis=1)
        if expected.sum() > own.sum():  # more confident than accurate
            low = middle
        else:
            high = middle
    return float(np.clip(np.exp((low + high) / 2), MIN_TEMPERATURE, MAX_TEMPERATURE))


class Calibration(NamedTuple):
    """A fitted temperature, and the temperatures for scoring the pictures it was fitted to.

    Attributes:
        temperature: the temperature that is shipped; logits are divided by it before softmax.
        per_picture: float64 [N], the temperature to use when each picture is scored.
        source: how `temperature` was fitted; None: it was not fitted and is 1.
    """

    temperature: float
    per_picture: Doubles
    source: TemperatureSource | None


def cross_fit(
    truth: Ints, logits: Floats, source: TemperatureSource | None = "test, cross-fitted"
) -> Calibration:
    """Fit a temperature to held-out pictures, and others for scoring the same pictures fairly.

    Each of the pictures' folds (`edgetl.evaluation.folds`) is scored at a temperature that is
    fitted to the other folds. The shipped temperature is fitted to all pictures (Guo et al. 2017,
    "On Calibration of Modern Neural Networks").

    Args:
        truth: class indices, int [N], of pictures the network was not trained on.
        logits: float [N, C].
        source: recorded as the source of the temperature.

    Fewer than two pictures cannot be split: the temperature is then 1 and its source None.
    """
    if len(truth) < 2:
        return fixed(1.0, len(truth), None)
    fold_of = assign_folds(truth)
    per_picture = np.ones(len(truth))
    for fold in np.unique(fold_of):
        own = fold_of == fold
        per_picture[own] = _fit(truth[~own], logits[~own])
    return Calibration(_fit(truth, logits), per_picture, source)


def fixed(temperature: float, pictures: int, source: TemperatureSource | None) -> Calibration:
    """A `Calibration` with one temperature for N pictures, none of which it was fitted to."""
    return Calibration(temperature, np.full(pictures, temperature), source)


def _fit(truth: Ints, logits: Floats) -> float:
    """Fit with a doubt of 1 / (N + 2), so that pictures all classified correctly have a fit too."""
    return fit_temperature(truth, logits, doubt=1 / (len(truth) + 2))
