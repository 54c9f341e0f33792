"""Scoring a bundle or another model on labelled pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from edgetl.bundle.preprocessing import Preprocess
from edgetl.bundle.reports import AccuracyReport
from edgetl.core.progress import Progress
from edgetl.data.dataset import read_for_scoring
from edgetl.data.folders import Example
from edgetl.evaluation.accuracy import Model, one_by_one, predict_all
from edgetl.evaluation.against import foreign_examples, require_rules, score_against
from edgetl.evaluation.corruptions import corrupted_models, corruption_scores
from edgetl.evaluation.metrics import accuracy_report
from edgetl.runtime.classifier import Classifier

_NAME = "model"


class Scorable(NamedTuple):
    """A model and everything needed to score it.

    Attributes:
        model: the network, called with prepared pictures.
        preprocess: how to prepare its pictures.
        labels: its classes, in the order of its outputs.
        name: its name in the report.
        temperature: what its logits are divided by before softmax.
    """

    model: Model
    preprocess: Preprocess
    labels: tuple[str, ...]
    name: str
    temperature: float


def evaluate_bundle(
    bundle: Path,
    data: Path,
    artifact: str | None,
    engine: str,
    progress: Progress,
    *,
    corruptions: bool = False,
    against: Path | None = None,
) -> AccuracyReport:
    """Score one artifact of a bundle in an engine; the arguments are those of `edgetl.evaluate`.

    Raises EdgetlError.
    """
    classifier = Classifier(bundle, engine=engine, artifact=artifact)
    scorable = Scorable(
        one_by_one(classifier.logits),
        classifier.preprocess,
        classifier.labels,
        f"{classifier.artifact.name} through {classifier.engine_version}",
        classifier.temperature,
    )
    examples = read_for_scoring(data, classifier.labels)
    if against is None:
        return score(scorable, examples, progress, corruptions=corruptions)
    foreign = foreign_examples(against)
    require_rules(classifier.bundle, artifact, engine)
    report = score(scorable, examples, progress, corruptions=corruptions)
    unknown = score_against(
        classifier.bundle,
        examples,
        foreign,
        progress,
        folder=against.resolve().name,
        artifact=artifact,
        engine=engine,
    )
    return msgspec.structs.replace(report, unknown=unknown)


def score(
    scorable: Scorable,
    examples: Sequence[Example],
    progress: Progress,
    *,
    corruptions: bool = False,
) -> AccuracyReport:
    """Score a model on labelled pictures, with `corruptions` on corrupted ones as well.

    Raises DataError if none of them can be read.
    """
    models = {_NAME: scorable.model}
    if corruptions:
        models |= corrupted_models(_NAME, scorable.model)
    answers = predict_all(models, examples, scorable.preprocess, progress, stage="evaluating")
    report = accuracy_report(
        answers.truth,
        answers.logits[_NAME],
        scorable.labels,
        subject=scorable.name,
        skipped=answers.skipped,
        temperature=scorable.temperature,
    )
    if not corruptions:
        return report
    scores = corruption_scores(_NAME, answers)
    return msgspec.structs.replace(report, corruptions=scores)
