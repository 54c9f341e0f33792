"""Opens what a report is about: a bundle through its engines, a run through torch."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgetl.bundle.archive import Bundle
from edgetl.core.errors import DataError, EdgetlError, EngineError
from edgetl.data.dataset import GivenPart, LabelledSource, base_folder, read_for_scoring
from edgetl.data.folders import Example
from edgetl.data.split import SPLITS_FILE, FilesByLabel, SplitFiles, read_split, resolve
from edgetl.evaluation.accuracy import one_by_one
from edgetl.runtime.classifier import Classifier
from edgetl.workstation.backbones.checkpoint import load_checkpoint
from edgetl.workstation.grad_cam import grad_cam
from edgetl.workstation.report.scores import ReportModel, ReportSource, read_curve
from edgetl.workstation.torch_model import torch_model
from edgetl.workstation.training.adaptation.record import read_adaptation

TORCH = "torch"
CHECKPOINT = "checkpoint sha256"
METRICS_FILE = "metrics.jsonl"


class Pictures(msgspec.Struct, frozen=True):
    """The labelled pictures that a report scores on.

    Attributes:
        examples: the pictures; their classes are indices into `labels`.
        labels: the class names.
        base: the folder that their names are relative to.
        described: where they are from, in words.
    """

    examples: tuple[Example, ...]
    labels: tuple[str, ...]
    base: Path
    described: str


def open_run(run: Path) -> ReportSource:
    """Open a run folder. Raises EdgetlError if it is not a run, or an interrupted one."""
    network, facts = load_checkpoint(run)
    if not facts.finished:
        raise EdgetlError(
            f"'{run}' was interrupted before it was finished.",
            hint="finish it first: edgetl finetune DATA -o RUN --resume.",
        )
    model = ReportModel(
        TORCH, f"{facts.backbone} through torch", torch_model(network, facts.preprocess),
        facts.temperature, grad_cam(network, facts.preprocess, facts.labels),
    )  # fmt: skip
    lines = (
        ("backbone", f"{facts.backbone}, from {facts.weights}"),
        ("trained on", f"{facts.training_images} pictures"),
        (CHECKPOINT, facts.sha256),
    )
    return ReportSource(
        title=str(run),
        labels=facts.labels,
        preprocess=facts.preprocess,
        models=(model,),
        facts=lines,
        curve=read_curve(run / METRICS_FILE),
        network=network,
        split=read_split(run / SPLITS_FILE) if (run / SPLITS_FILE).is_file() else None,
        adaptation=read_adaptation(run),
    )


def held_out(split: SplitFiles, notes: list[str]) -> Pictures | None:
    """The pictures that a run held out: its test part, else its validation part.

    Pictures that have moved since are left out, and a note says so. None if there are none left.
    """
    for part, files in (("test", split.test), ("validation", split.val)):
        found = resolve(split, _present(split, files))
        if missing := sum(map(len, files.values())) - len(found):
            notes.append(
                f"{missing} pictures of the run's {part} part are no longer in '{split.root}'."
            )
        if found:
            described = f"the run's {part} part"
            return Pictures(tuple(found), split.labels, Path(split.root), described)
    return None


def data_of(sources: Sequence[ReportSource], pictures: Pictures | None) -> LabelledSource | None:
    """The data set that the report checks: all parts of the first run's, else the pictures."""
    for source in sources:
        if source.split:
            split = source.split
            parts: dict[GivenPart, FilesByLabel] = {
                "train": split.train, "val": split.val, "test": split.test,
            }  # fmt: skip
            found = {
                part: tuple(resolve(split, _present(split, files))) for part, files in parts.items()
            }
            kept = {part: examples for part, examples in found.items() if examples}
            return LabelledSource(Path(split.root), split.labels, kept) if kept else None
    if pictures is None:
        return None
    return LabelledSource(pictures.base, pictures.labels, {"all": pictures.examples})


def _present(split: SplitFiles, files: FilesByLabel) -> dict[str, tuple[str, ...]]:
    """Those files of a part that still exist."""
    root = Path(split.root)
    return {
        label: tuple(name for name in names if (root / name).is_file())
        for label, names in files.items()
    }


def open_bundle(path: Path) -> tuple[ReportSource, list[str]]:
    """Open a bundle; returns it with a note for each artifact that no engine here can run.

    The float artifacts come first. Raises EdgetlError if it is not a bundle.
    """
    bundle = Bundle(path)
    models, notes = [], []
    order = sorted(bundle.manifest.artifacts, key=lambda artifact: "int8" in artifact.scheme)
    for artifact in order:
        try:
            classifier = Classifier(bundle, artifact=artifact.name)
        except EngineError as error:
            notes.append(f"{artifact.name} was not run here: {error} {error.hint or ''}".strip())
            continue
        models.append(
            ReportModel(
                artifact.name,
                f"{artifact.name} through {classifier.engine_version}",
                one_by_one(classifier.logits),
                classifier.temperature,
                classifier.heatmap if artifact.feature_map else None,
            )
        )
    source = ReportSource(
        title=str(path),
        labels=bundle.manifest.labels,
        preprocess=bundle.manifest.preprocess,
        models=tuple(models),
        manifest=bundle.manifest,
        recipe=bundle.recipe_text(),
    )
    return source, notes


def pictures_of(data: Path, labels: Sequence[str]) -> Pictures:
    """The labelled pictures of a folder or table that the user names. Raises DataError."""
    examples = read_for_scoring(data, labels)
    return Pictures(examples, tuple(labels), base_folder(data), f"'{data}'")


def with_pictures(source: ReportSource, pictures: Pictures | None) -> ReportSource:
    """Give a source its pictures, whose labels are matched by name.

    Raises DataError if the pictures have a label that the source does not know.
    """
    if pictures is None:
        return source
    unknown = sorted(set(pictures.labels) - set(source.labels))
    if unknown:
        raise DataError(
            f"'{source.title}' does not know the label '{unknown[0]}' of {pictures.described}.",
            hint="make a report of each on its own, or give --data pictures that all of them know.",
        )
    index = [source.labels.index(label) for label in pictures.labels]
    examples = tuple(Example(e.path, index[e.label]) for e in pictures.examples)
    return source._replace(examples=examples, base=pictures.base)
