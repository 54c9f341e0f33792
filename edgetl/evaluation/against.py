"""Scoring a bundle's rule for unknown pictures on a folder of foreign ones."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgetl.bundle.archive import Bundle
from edgetl.bundle.reports import UnknownScore
from edgetl.core.errors import DataError, EngineError
from edgetl.core.progress import Progress
from edgetl.data.folders import Example
from edgetl.evaluation.accuracy import predict_all
from edgetl.evaluation.unknown import score_foreign, strangeness, with_distances
from edgetl.runtime.classifier import Classifier
from edgetl.runtime.selection import choices_here
from edgetl.runtime.sources import pictures_in
from edgetl.runtime.unknown import UnknownDetector
from edgetl.runtime.unknown_rule import limits_of


def score_against(
    bundle: Bundle,
    own: Sequence[Example],
    foreign: Sequence[Example],
    progress: Progress,
    *,
    folder: str,
    artifact: str | None = None,
    engine: str = "auto",
) -> tuple[UnknownScore, ...]:
    """Score how artifacts tell foreign pictures from their own, each through its engines.

    Args:
        bundle: its artifacts must have a rule for unknown pictures.
        own: labelled pictures of the bundle's classes.
        foreign: pictures that show none of the classes; their labels do not count.
        progress: where to show how far it is.
        folder: the name to report for the foreign pictures.
        artifact: only this one; None: every artifact.
        engine: only this one; "auto": every engine that is installed and to be trusted here.

    Raises DataError if no own or no foreign picture can be read, BundleError if an artifact has no
    rule, EngineError if no engine is left.
    """
    classifiers = list(_classifiers(bundle, artifact, engine))
    detectors = [classifier.unknown_detector for classifier in classifiers]
    spec, classes = bundle.manifest.preprocess, len(bundle.manifest.labels)
    models = {
        str(index): with_distances(classifier.outputs, detector.distance)
        for index, (classifier, detector) in enumerate(zip(classifiers, detectors, strict=True))
    }
    ours = predict_all(models, own, spec, progress, stage="own pictures")
    theirs = predict_all(models, foreign, spec, progress, stage="foreign pictures")
    scores = []
    for (name, logits), classifier in zip(ours.logits.items(), classifiers, strict=True):
        rule = classifier.artifact.unknown
        assert rule is not None  # else there is no detector
        familiar = strangeness(logits, classifier.temperature, classes)
        answered = familiar.answered(limits_of(rule))
        right = (logits[:, :classes].argmax(axis=1) == ours.truth)[answered]
        scores.append(
            UnknownScore(
                artifact=classifier.artifact.name,
                engine=classifier.engine_version,
                images=len(answered),
                answered=float(answered.mean()),
                top1=float(right.mean()) if len(right) else None,
                foreign=score_foreign(
                    folder,
                    familiar,
                    strangeness(theirs.logits[name], classifier.temperature, classes),
                    limits_of(rule),
                ),
            )
        )
    return tuple(scores)


def foreign_examples(folder: Path) -> list[Example]:
    """Return a folder's pictures, all with label 0. Raises DataError if it holds none."""
    examples = [Example(path, 0) for path in pictures_in(folder)] if folder.is_dir() else []
    if not examples:
        raise DataError(
            f"'{folder}' holds no pictures.",
            hint="a folder of foreign pictures shows none of the classes.",
        )
    return examples


def require_rules(bundle: Bundle, artifact: str | None, engine: str) -> None:
    """Check that `score_against` finds a rule in every artifact, before hours of other work.

    Raises BundleError.
    """
    for choice in choices_here(bundle.manifest, engine, artifact):
        UnknownDetector(bundle, choice.artifact)


def _classifiers(bundle: Bundle, artifact: str | None, engine: str) -> Iterator[Classifier]:
    choices = choices_here(bundle.manifest, engine, artifact)
    if not choices:
        raise EngineError(
            "No engine that is installed here runs these artifacts.",
            hint="`edgetl verify` shows which engines there are.",
        )
    for choice in choices:
        runs = f"{choice.engine}:{choice.provider}"
        yield Classifier(bundle, engine=runs, artifact=choice.artifact.name)
