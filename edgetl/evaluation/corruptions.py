"""Accuracy on corrupted pictures: blur, noise, compression, darkness and a colour cast.

The corruptions have five severities, as in Hendrycks & Dietterich, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations" (2019). Blur, noise and compression take that
paper's values; darkness and the colour cast are in photographic stops.
"""

import io
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from edgetl.bundle.reports import CorruptionScore
from edgetl.evaluation.accuracy import Model, ModelLogits
from edgetl.evaluation.metrics import top1_interval
from edgetl.runtime.preprocess import Pixels

SEVERITIES = (1, 2, 3, 4, 5)

_GAMMA = 2.2  # of sRGB, nearly
_PAPER_SIDE_PX = 224  # the pictures' side in the paper, to which its blur is relative
_BLUR_PX = (1, 2, 3, 4, 6)
_NOISE_STD = (0.08, 0.12, 0.18, 0.26, 0.38)
_JPEG_QUALITY = (25, 18, 15, 10, 7)
_DARK_STOPS = (1, 2, 3, 4, 5)
_CAST_STOPS = (0.2, 0.4, 0.6, 0.8, 1.0)


def _blur(pixels: Pixels, severity: int) -> Pixels:
    """A Gaussian blur; its radius is relative to the picture's side."""
    radius = _BLUR_PX[severity - 1] * len(pixels) / _PAPER_SIDE_PX
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def _noise(pixels: Pixels, severity: int) -> Pixels:
    """Gaussian noise, the same for the same picture."""
    random = np.random.default_rng(zlib.crc32(pixels.tobytes()))
    noise = random.standard_normal(pixels.shape, np.float32) * _NOISE_STD[severity - 1]
    return _rounded(pixels / np.float32(255) + noise)


def _compression(pixels: Pixels, severity: int) -> Pixels:
    """JPEG of low quality."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=_JPEG_QUALITY[severity - 1])
    return np.asarray(Image.open(file))


def _darkness(pixels: Pixels, severity: int) -> Pixels:
    """Less light: each stop halves it."""
    return _scaled(pixels, (0.5 ** _DARK_STOPS[severity - 1],) * 3)


def _colour_cast(pixels: Pixels, severity: int) -> Pixels:
    """A warm cast, as of lamp light under a white balance for daylight: more red, less blue."""
    gain = 2.0 ** _CAST_STOPS[severity - 1]
    return _scaled(pixels, (gain, 1.0, 1 / gain))


CORRUPTIONS: dict[str, Callable[[Pixels, int], Pixels]] = {
    "blur": _blur,
    "noise": _noise,
    "compression": _compression,
    "darkness": _darkness,
    "colour cast": _colour_cast,
}
"""Each takes a prepared picture, uint8 [S, S, 3], and a severity; returns the corrupted one."""


def corrupted_models(name: str, model: Model) -> dict[str, Model]:
    """The model behind each corruption and severity, by name, for `predict_all`."""

    def behind(corrupt: Callable[[Pixels, int], Pixels], severity: int) -> Model:
        return lambda pixels: model(np.stack([corrupt(picture, severity) for picture in pixels]))

    return {
        _name(name, kind, severity): behind(corrupt, severity)
        for kind, corrupt in CORRUPTIONS.items()
        for severity in SEVERITIES
    }


def corruption_scores(name: str, answers: ModelLogits) -> tuple[CorruptionScore, ...]:
    """The accuracy of each of `corrupted_models(name, ...)` from its logits."""
    scores = []
    for kind in CORRUPTIONS:
        for severity in SEVERITIES:
            right = answers.predicted(_name(name, kind, severity)) == answers.truth
            scores.append(
                CorruptionScore(
                    corruption=kind,
                    severity=severity,
                    top1=float(right.mean()),
                    top1_interval=top1_interval(right),
                )
            )
    return tuple(scores)


def mean_top1(scores: Sequence[CorruptionScore]) -> float:
    """Mean top-1 over all corruptions and severities, 0 to 1."""
    return float(np.mean([score.top1 for score in scores]))


def _name(model: str, corruption: str, severity: int) -> str:
    return f"{model} under {corruption} {severity}"


def _scaled(pixels: Pixels, gains: tuple[float, float, float]) -> Pixels:
    """Multiply the light of each channel, which is `pixels` to the power of `_GAMMA`."""
    factors = np.array(gains, np.float32) ** np.float32(1 / _GAMMA)
    return _rounded(pixels / np.float32(255) * factors)


def _rounded(shares: NDArray[np.float32]) -> Pixels:
    """From 0 to 1 to uint8; what lies beyond is clipped."""
    return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
