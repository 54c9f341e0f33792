"""How the models of a report do on corrupted pictures and under a gradient attack."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgetl.bundle.preprocessing import Preprocess
from edgetl.bundle.reports import CorruptionScore
from edgetl.core.errors import DataError
from edgetl.core.progress import Progress
from edgetl.data.folders import Example
from edgetl.data.reading import read_pixels
from edgetl.evaluation.accuracy import predict_all
from edgetl.evaluation.corruptions import CORRUPTIONS, corrupted_models, corruption_scores
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.gradient_attack import AttackScore, attack_scores
from edgetl.workstation.report.scores import ReportModel, ReportSource

_MOST_PICTURES = 100


class CorruptedScores(NamedTuple):
    """The accuracy of models on some of the pictures, with and without corruptions.

    Attributes:
        pictures: how many there are.
        clean: top-1 without corruption, 0 to 1, by the models' names.
        scores: by the models' names.
    """

    pictures: int
    clean: dict[str, float]
    scores: dict[str, tuple[CorruptionScore, ...]]

    def rows(self) -> list[tuple[str, str, list[float]]]:
        """Each corruption, model, and top-1 by severity; a corruption's models stand together."""
        return [
            (kind, model, [score.top1 for score in own if score.corruption == kind])
            for kind in CORRUPTIONS
            for model, own in self.scores.items()
        ]


def score_corrupted(
    source: ReportSource, models: Sequence[ReportModel], progress: Progress
) -> CorruptedScores:
    """Score models on at most 100 of the source's pictures under each corruption."""
    plain = {m.name: m.model for m in models}
    corrupted = [corrupted_models(m.name, m.model) for m in models]
    answers = predict_all(
        {**plain, **{name: model for each in corrupted for name, model in each.items()}},
        _some(source.examples),
        source.preprocess,
        progress,
        stage="scoring corrupted pictures",
    )
    return CorruptedScores(
        len(answers.truth),
        {m.name: answers.top1(m.name) for m in models},
        {m.name: corruption_scores(m.name, answers) for m in models},
    )


def score_attacked(source: ReportSource, progress: Progress) -> list[AttackScore]:
    """Attack a run's network on at most 100 of its pictures, and score every model of the source.

    Empty for a source without a network.
    """
    if source.network is None:
        return []
    pictures, truth = _read(_some(source.examples), source.preprocess)
    models = {m.name: m.model for m in source.models}
    return attack_scores(source.network, source.preprocess, models, pictures, truth, progress)


def _some(examples: Sequence[Example]) -> Sequence[Example]:
    """At most 100 examples, spread evenly over all, and so over the classes."""
    places = np.linspace(0, len(examples) - 1, min(len(examples), _MOST_PICTURES))
    return [examples[i] for i in places.round().astype(int)]


def _read(examples: Sequence[Example], spec: Preprocess) -> tuple[Pixels, np.ndarray]:
    read = [(e.label, p) for e, p in read_pixels(examples, spec) if not isinstance(p, DataError)]
    return np.stack([pixels for _, pixels in read]), np.array([label for label, _ in read])
