"""What a report shows, as numbers: scores, mistakes, disagreements, learning curves."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.manifest import Manifest
from edgetl.bundle.preprocessing import Preprocess
from edgetl.bundle.reports import AccuracyReport, Heatmap, Interval
from edgetl.core.errors import DataError
from edgetl.core.progress import Progress
from edgetl.core.schema import Frozen
from edgetl.data.folders import Example
from edgetl.data.reading import read_pixels
from edgetl.data.split import SplitFiles
from edgetl.evaluation.accuracy import Model, ModelLogits, predict_all
from edgetl.evaluation.metrics import accuracy_report, class_intervals
from edgetl.runtime.preprocess import Pixels
from edgetl.runtime.softmax import softmax
from edgetl.workstation.backbones.build import Network
from edgetl.workstation.training.adaptation.record import AdaptationReport

SHOWN = 12


class ReportModel(NamedTuple):
    """A model that a report scores.

    Attributes:
        name: "torch" or an artifact's name, e.g. "tflite-int8".
        subject: the name with the engine, e.g. "tflite-int8 through litert 2.3.0".
        model: the network, called with prepared pictures.
        temperature: what its logits are divided by before softmax.
        heatmap: makes the heatmap of a prepared picture; None if the model has no feature map.
    """

    name: str
    subject: str
    model: Model
    temperature: float
    heatmap: Callable[[Pixels], Heatmap] | None = None


class CurvePoint(Frozen, kw_only=True, frozen=True):
    """An epoch of `metrics.jsonl`; losses in nats."""

    epoch: int
    train_loss: float
    val_loss: float | None = None
    val_top1: float | None = None
    val_calibrated_loss: float | None = None
    rate: float = 0.0
    seconds: float = 0.0


class ReportSource(NamedTuple):
    """A run or a bundle that a report is about.

    Attributes:
        title: its path.
        labels, preprocess: its classes, and how its pictures are prepared.
        models: those that are scored; the reference, torch or float, comes first.
        examples: the pictures to score it on; empty: none are known.
        base: the folder that picture names are relative to.
        manifest: of a bundle; None for a run.
        facts: lines about a run's origin, name and value; empty for a bundle.
        curve: a run's learning curve; empty if it has none.
        network, split: a run's float network, and the pictures of its parts.
        recipe: a bundle's recipe as YAML; "" for a run.
        adaptation: the networks that a run was chosen from; None if it was not adapted.
    """

    title: str
    labels: tuple[str, ...]
    preprocess: Preprocess
    models: tuple[ReportModel, ...]
    examples: tuple[Example, ...] = ()
    base: Path = Path()
    manifest: Manifest | None = None
    facts: tuple[tuple[str, str], ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    recipe: str = ""
    network: Network | None = None
    split: SplitFiles | None = None
    adaptation: AdaptationReport | None = None


class Point(NamedTuple):
    """An artifact in a chart of accuracy against cost; top-1 and its interval are 0 to 1."""

    name: str
    cost: float
    top1: float
    interval: Interval


class ClassRow(NamedTuple):
    """A class's scores, 0 to 1, with their 95 % bootstrap intervals."""

    label: str
    images: int
    precision: float
    precision_interval: Interval
    recall: float
    recall_interval: Interval
    f1: float
    f1_interval: Interval


class ShownPicture(NamedTuple):
    """A picture with what a model and the reference predict for it.

    Attributes:
        example: the picture.
        name: its path below the data's folder.
        truth: its label.
        predicted, probability: the model's label and its calibrated probability.
        reference: the reference's label.
    """

    example: Example
    name: str
    truth: str
    predicted: str
    probability: float
    reference: str


class Scores(NamedTuple):
    """A source's scores on its pictures.

    Attributes:
        answers: logits of every model.
        examples: the pictures that could be read, in the order of the logits.
        reports: by the models' names.
    """

    answers: ModelLogits
    examples: tuple[Example, ...]
    reports: dict[str, AccuracyReport]


def score_source(source: ReportSource, progress: Progress) -> Scores:
    """Run every model of a source on its pictures. Raises DataError if none can be read."""
    read: list[Example] = []

    def reader(
        examples: Sequence[Example], spec: Preprocess
    ) -> Iterator[tuple[Example, Pixels | DataError]]:
        for example, pixels in read_pixels(examples, spec):
            if not isinstance(pixels, DataError):
                read.append(example)
            yield example, pixels

    answers = predict_all(
        {model.name: model.model for model in source.models},
        source.examples,
        source.preprocess,
        progress,
        stage="scoring",
        read=reader,
    )
    reports = {
        model.name: accuracy_report(
            answers.truth,
            answers.logits[model.name],
            source.labels,
            subject=model.subject,
            skipped=answers.skipped,
            temperature=model.temperature,
        )
        for model in source.models
    }
    return Scores(answers, tuple(read), reports)


def class_rows(report: AccuracyReport) -> list[ClassRow]:
    """Each class's precision, recall and F1 with intervals."""
    intervals = class_intervals(np.array(report.confusion, np.int64))
    return [
        ClassRow(own.label, own.images, own.precision, p, own.recall, r, own.f1, f)
        for own, (p, r, f) in zip(report.per_class, intervals, strict=True)
    ]


def confusions(report: AccuracyReport, most: int = 20) -> list[tuple[str, str, int]]:
    """The most frequent confusions: true label, predicted label, number of pictures."""
    matrix = np.array(report.confusion)
    np.fill_diagonal(matrix, 0)
    order = np.argsort(-matrix, axis=None, kind="stable")[:most]
    pairs = [np.unravel_index(place, matrix.shape) for place in order]
    return [
        (report.labels[i], report.labels[j], int(matrix[i, j])) for i, j in pairs if matrix[i, j]
    ]


def confident_mistakes(
    source: ReportSource, scores: Scores, model: ReportModel, reference: ReportModel
) -> list[ShownPicture]:
    """The wrong predictions of a model that it is most sure of, most confident first."""
    wrong = scores.answers.predicted(model.name) != scores.answers.truth
    return _shown(source, scores, model, reference, wrong)


def disagreeing(
    source: ReportSource, scores: Scores, model: ReportModel, reference: ReportModel
) -> list[ShownPicture]:
    """The pictures for which a model and the reference predict different labels."""
    differ = scores.answers.predicted(model.name) != scores.answers.predicted(reference.name)
    return _shown(source, scores, model, reference, differ)


def _shown(
    source: ReportSource,
    scores: Scores,
    model: ReportModel,
    reference: ReportModel,
    mask: NDArray[np.bool_],
) -> list[ShownPicture]:
    predicted = scores.answers.predicted(model.name)
    other = scores.answers.predicted(reference.name)
    sure = softmax(scores.answers.logits[model.name], model.temperature).max(axis=1)
    places = np.flatnonzero(mask)
    places = places[np.argsort(-sure[places], kind="stable")][:SHOWN]
    return [
        ShownPicture(
            scores.examples[i],
            _relative(scores.examples[i].path, source.base),
            source.labels[scores.answers.truth[i]],
            source.labels[predicted[i]],
            float(sure[i]),
            source.labels[other[i]],
        )
        for i in map(int, places)
    ]


def _relative(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.name


def read_curve(file: Path) -> tuple[CurvePoint, ...]:
    """Read `metrics.jsonl`; empty if it is missing or damaged."""
    try:
        lines = file.read_bytes().splitlines()
        return tuple(msgspec.json.decode(line, type=CurvePoint) for line in lines if line.strip())
    except (OSError, msgspec.DecodeError):
        return ()
