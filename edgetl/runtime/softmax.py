"""Logits -> probabilities. Numpy only."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Temperatures = float | Floats
"""One temperature for all pictures, or float [N], one for each."""


def class_logits(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a network answers as one logit a class: float32 [N, classes].

    A network with one sigmoid output answers [N, 1]: z, whose sigmoid is the probability of the
    second class. [0, z] says the same to a softmax.
    """
    if logits.shape[-1] != 1:
        return logits
    return np.concatenate([np.zeros_like(logits), logits], axis=-1)


def softmax(logits: Floats, temperature: Temperatures = 1.0) -> NDArray[np.float32]:
    """Probabilities over the last axis of `logits` / `temperature` (> 0), as float32.

    `temperature`: one for all pictures, or float [N], one for each.
    """
    raised = np.exp(_scaled(logits, temperature))
    shares: NDArray[np.float32] = (raised / raised.sum(axis=-1, keepdims=True)).astype(np.float32)
    return shares


def log_softmax(logits: Floats, temperature: Temperatures) -> Doubles:
    """Natural logarithms of `softmax`, float64 [N, C]."""
    scaled = _scaled(logits, temperature)
    scaled -= np.log(np.exp(scaled).sum(axis=-1, keepdims=True))
    return scaled


def _scaled(logits: Floats, temperature: Temperatures) -> Doubles:
    """Logits / temperature, shifted so that the largest is 0 and no exponential overflows."""
    scaled: Doubles = logits.astype(np.float64) / np.asarray(temperature)[..., np.newaxis]
    scaled -= scaled.max(axis=-1, keepdims=True)
    return scaled
