"""Temperatures that are fitted and judged on the same held-out pictures. Numpy only."""

from typing import NamedTuple

import numpy as np

from edgetl.core.metrics import Doubles, Floats, Ints, fit_temperature
from edgetl.core.reports import TemperatureSource

_FOLDS = 5
_SEED = 0


class Calibration(NamedTuple):
    """A temperature, and what the pictures are judged at that it was fitted with.

    Attributes:
        temperature: what ships: logits are divided by it before softmax.
        per_picture: float64 [N], the temperature at which each picture is judged.
        source: how `temperature` was fitted; None: it was not, and is 1.
    """

    temperature: float
    per_picture: Doubles
    source: TemperatureSource | None


def cross_fit(
    truth: Ints, logits: Floats, source: TemperatureSource | None = "test, cross-fitted"
) -> Calibration:
    """Fit a temperature to held-out pictures so that none is judged by its own answer.

    The pictures are parted into 5 folds (fewer where there are fewer pictures), seeded and
    stratified by class, and each fold is judged at the temperature that is fitted to the other
    folds: cross-fitting, as in cross-validation (Stone 1974, "Cross-Validatory Choice and
    Assessment of Statistical Predictions"). The temperature that ships is fitted to all of them
    (Guo et al. 2017, "On Calibration of Modern Neural Networks").

    Args:
        truth: class indices int [N], of pictures the network was not trained on.
        logits: float [N, C].
        source: what to call these pictures.

    Fewer than two pictures cannot be parted: the temperature is then 1, fitted to nothing.
    """
    if len(truth) < 2:
        return fixed(1.0, len(truth), None)
    fold_of = _deal(truth, min(_FOLDS, len(truth)))
    per_picture = np.ones(len(truth))
    for fold in np.unique(fold_of):
        own = fold_of == fold
        per_picture[own] = _fit(truth[~own], logits[~own])
    return Calibration(_fit(truth, logits), per_picture, source)


def fixed(temperature: float, pictures: int, source: TemperatureSource | None) -> Calibration:
    """One temperature for all of N pictures, none of which it was fitted to."""
    return Calibration(temperature, np.full(pictures, temperature), source)


def _fit(truth: Ints, logits: Floats) -> float:
    """Of N pictures one in N + 2 is doubted: a fold whose others are all right has a fit, too."""
    return fit_temperature(truth, logits, doubt=1 / (len(truth) + 2))


def _deal(truth: Ints, folds: int) -> Ints:
    """A fold for each picture, int [N]: each class shuffled, and dealt on from the last one."""
    random = np.random.default_rng(_SEED)
    order = np.concatenate(
        [random.permutation(np.flatnonzero(truth == label)) for label in np.unique(truth)]
    )
    fold_of = np.empty(len(truth), np.int64)
    fold_of[order] = np.arange(len(truth)) % folds
    return fold_of
