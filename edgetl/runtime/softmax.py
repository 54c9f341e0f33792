"""Logits -> probabilities, with numpy only."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Temperatures = float | Floats
"""One temperature for all pictures, or float [N], one for each picture."""


def class_logits(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """A network's outputs, float32 [N, outputs], as one logit per class: float32 [N, classes].

    A network with one sigmoid output returns z, [N, 1], and sigmoid(z) is the probability of the
    second class. The softmax of [0, z] gives the same probability.
    """
    if logits.shape[-1] != 1:
        return logits
    return np.concatenate([np.zeros_like(logits), logits], axis=-1)


def softmax(logits: Floats, temperature: Temperatures = 1.0) -> NDArray[np.float32]:
    """Probabilities over the last axis of `logits` / `temperature` (> 0), as float32.

    Args:
        logits: float [C] or [N, C].
        temperature: one for all pictures, or float [N], one for each picture.
    """
    powers = np.exp(_scaled(logits, temperature))
    scores: NDArray[np.float32] = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
    return scores


def log_softmax(logits: Floats, temperature: Temperatures) -> Doubles:
    """Natural logarithm of `softmax`, computed in float64: float64 [N, C]."""
    scaled = _scaled(logits, temperature)
    scaled -= np.log(np.exp(scaled).sum(axis=-1, keepdims=True))
    return scaled


def _scaled(logits: Floats, temperature: Temperatures) -> Doubles:
    """Logits / temperature, shifted so that the largest is 0 and exp cannot overflow."""
    scaled: Doubles = logits.astype(np.float64) / np.asarray(temperature)[..., np.newaxis]
    scaled -= scaled.max(axis=-1, keepdims=True)
    return scaled
