"""Answers, records and days that tests make on the spot."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone

from edgetl.bundle.profile import (
    CONFIDENCE_EDGES,
    DISTANCE_EDGES,
    Profile,
    confidence_bin,
    distance_bin,
)
from edgetl.bundle.reports import LabelScore, Prediction
from edgetl.collection.records import Reason, Record, picture_name

NOON = datetime(2026, 7, 1, 12, tzinfo=timezone.utc)
DIGEST = "ab" * 32


def answer(
    label: str = "cat",
    probability: float = 0.9,
    *,
    unknown: bool | None = None,
    distance: float | None = None,
    source: str = "a.jpg",
) -> Prediction:
    """A prediction of two classes, "cat" and "dog", or of `label` and "dog"."""
    top = (
        LabelScore(label=label, probability=probability),
        LabelScore(label="dog", probability=1 - probability),
    )
    return Prediction(
        source=source, label="unknown" if unknown else label, probability=probability, top=top,
        decode_ms=1.0, preprocess_ms=1.0, inference_ms=1.0, artifact="onnx-fp32",
        engine="onnxruntime 1.31.1", provider="CPUExecutionProvider", unknown=unknown,
        distance=distance,
    )  # fmt: skip


def record(
    content: bytes, reason: Reason = "random", minute: int = 0, prediction: Prediction | None = None
) -> Record:
    """The record of a picture that was answered some minutes after noon."""
    time = NOON + timedelta(minutes=minute)
    sha256 = hashlib.sha256(content).hexdigest()
    return Record(
        version=1,
        time=time.isoformat(timespec="milliseconds"),
        picture=picture_name(time, reason, sha256, "jpg"),
        sha256=sha256,
        bytes=len(content),
        bundle=DIGEST,
        prediction=prediction or answer(),
        reason=reason,
    )


def profile(
    confidences: Sequence[float],
    distances: Iterable[float] | None = None,
    classes: tuple[int, int] | None = None,
) -> Profile:
    """The profile of pictures with these confidences and distances."""
    confidence, distance = [0] * (len(CONFIDENCE_EDGES) + 1), [0] * (len(DISTANCE_EDGES) + 1)
    for value in confidences:
        confidence[confidence_bin(value)] += 1
    for value in () if distances is None else distances:
        distance[distance_bin(value)] += 1
    return Profile(
        images=len(confidences),
        classes=classes or (len(confidences), 0),
        confidence=tuple(confidence),
        distance=None if distances is None else tuple(distance),
        unknown=None if distances is None else sum(d > 1 for d in distances),
    )
