"""Folds of held-out pictures, to judge each by what was fitted to the others."""

import numpy as np

from edgetl.runtime.softmax import Ints

_FOLDS = 5
_SEED = 0


def assign_folds(truth: Ints) -> Ints:
    """A fold index for each picture, int [N]: shuffled by class, then assigned in rotation.

    There are 5 folds, or as many as there are pictures if these are fewer; the seed is fixed.
    Cross-fitting, as in cross-validation (Stone 1974, "Cross-Validatory Choice and Assessment of
    Statistical Predictions").

    Args:
        truth: class indices, int [N].
    """
    random = np.random.default_rng(_SEED)
    order = np.concatenate(
        [random.permutation(np.flatnonzero(truth == label)) for label in np.unique(truth)]
    )
    fold_of = np.empty(len(truth), np.int64)
    fold_of[order] = np.arange(len(truth)) % min(_FOLDS, len(truth))
    return fold_of
