"""Chooses the range of values that an activation's 256 steps cover."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.core.errors import EdgetlError

# The zero point among the 256 steps of a symmetric range, in its middle.
SYMMETRIC_ZERO = 128
_BINS = 256
_SAMPLE = 16_384
_LEAST = -1e30
_CANDIDATES = np.linspace(1.0, 0.1, 19)
# 0 minimises the plain squared error, 1 each picture's relative error; above 1, pictures with small
# values, whose logits lie closer together, have more weight.
_FAIRNESS = 1.5


class QuantParams(NamedTuple):
    """Quantization parameters: step q, 0 to 255, represents (q - zero) * scale.

    `scale` is a float32 number above 0, `zero` is 0 to 255.
    """

    scale: float
    zero: int

    @classmethod
    def covering(cls, low: float, high: float) -> QuantParams:
        """Return those of a range with low <= 0 <= high, shifted so that 0 falls on a step."""
        scale = float(np.float32(max(high - low, 1e-6) / 255))
        return cls(scale, min(255, max(0, round(-low / scale))))

    @classmethod
    def symmetric(cls, low: float, high: float) -> QuantParams:
        """Return those of a range with low <= 0 <= high, widened so that 0 is in its middle."""
        scale = float(np.float32(max(-low, high, 1e-6) / 127))
        return cls(scale, SYMMETRIC_ZERO)

    @property
    def low(self) -> float:
        """The smallest value that the steps represent."""
        return -self.zero * self.scale

    @property
    def high(self) -> float:
        """The largest value that the steps represent."""
        return (255 - self.zero) * self.scale


class RangeObserver:
    """Collects each tensor's histogram per picture, and chooses its range from them.

    The range minimises the squared error of rounding and clipping, as in TensorRT and Banner et al.
    2019 (https://arxiv.org/abs/1810.05723), with one difference: a picture's error is measured
    against its own energy. Otherwise the few pictures with the largest values make the steps too
    coarse for all others: MobileNetV2's last residual sums reach 34 on one picture in 60, and 12 on
    the average one.
    """

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self._seen: dict[str, list[tuple[float, float, NDArray[np.float32]]]] = {}

    def see(self, name: str, values: NDArray[Any]) -> None:
        """Record a tensor's values, of any shape, for one picture.

        Raises EdgetlError if one of them is not finite.
        """
        flat = values.reshape(-1)
        if flat.min() < _LEAST:  # padding of a max pool, which carries no information
            flat = flat[flat >= _LEAST]
        low, high = float(flat.min()), float(flat.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise EdgetlError(
                f"Layer '{name}' answers a picture with something that is no number.",
                hint="the network is damaged, or overflows: fine-tune again at lower rates.",
            )
        sample = flat
        if flat.size > _SAMPLE:  # random: a fixed stride would miss channels
            sample = flat[self._random.integers(flat.size, size=_SAMPLE)]
        bins = ((sample - low) * (_BINS / max(high - low, 1e-9))).astype(np.int32)
        counts = np.bincount(np.minimum(bins, _BINS - 1), minlength=_BINS) / sample.size
        self._seen.setdefault(name, []).append((low, high, counts.astype(np.float32)))

    def widest(self, name: str) -> tuple[float, float]:
        """Return a tensor's (low, high) without clipping, low <= 0 <= high, as logits require."""
        return (
            min(0.0, min(low for low, _, _ in self._seen[name])),
            max(0.0, max(high for _, high, _ in self._seen[name])),
        )

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Choose each tensor's (low, high), with low <= 0 <= high, so that 0 can fall on a step."""
        return {name: self._choose(name) for name in self._seen}

    def _choose(self, name: str) -> tuple[float, float]:
        low, high = self.widest(name)
        values, weights = _points(self._seen[name])
        for _ in range(2):
            high = min(
                (_error(values, weights, low, high * part), high * part) for part in _CANDIDATES
            )[1]
            low = min(
                (_error(values, weights, low * part, high), low * part) for part in _CANDIDATES
            )[1]
        return float(low), float(high)


def _points(
    seen: list[tuple[float, float, NDArray[np.float32]]],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the bin centres of every picture, and their weights in the error: [pictures, bins]."""
    lows = np.array([low for low, _, _ in seen], np.float32)[:, np.newaxis]
    highs = np.array([high for _, high, _ in seen], np.float32)[:, np.newaxis]
    counts = np.stack([counts for _, _, counts in seen])
    values = lows + (np.arange(_BINS, dtype=np.float32) + 0.5) * (highs - lows) / _BINS
    energy = np.maximum((counts * values**2).sum(axis=1, keepdims=True), 1e-12)
    weights = counts / energy**_FAIRNESS
    return values.astype(np.float32), weights.astype(np.float32)


def _error(
    values: NDArray[np.float32], weights: NDArray[np.float32], low: float, high: float
) -> float:
    """Weighted squared error of clipping to [low, high] and rounding to 256 steps."""
    clipped = np.minimum(np.maximum(values, low), high)
    rounding = ((high - low) / 255) ** 2 / 12
    inside = clipped == values
    return float((weights * ((values - clipped) ** 2 + rounding * inside)).sum())
