"""What the page shows of one run or bundle: tables, charts, pictures."""

from collections.abc import Sequence
from typing import NamedTuple

from edgetl.benchmarking.reports import BenchReport, Profile
from edgetl.core.errors import DataError
from edgetl.core.progress import Progress
from edgetl.workstation.gradient_attack import AttackScore
from edgetl.workstation.report import charts
from edgetl.workstation.report.models import ModelRow, cost_charts, model_rows
from edgetl.workstation.report.robustness import CorruptedScores, score_corrupted
from edgetl.workstation.report.scores import (
    ClassRow,
    ReportModel,
    ReportSource,
    Scores,
    ShownPicture,
    class_rows,
    confident_mistakes,
    confusions,
    disagreeing,
    score_source,
)
from edgetl.workstation.report.thumbnails import Thumbnail, make_thumbnail

# Above this many classes the confusion matrix is an image, with the worst confusions as a table.
_TABLE_CLASSES = 25


class Section(NamedTuple):
    """What the page shows of one run or bundle; parts that are not known are empty.

    Attributes:
        source: the run or bundle.
        rows: its models.
        model: the name of the model that the details are about.
        reference: the name of the model that it is compared with.
        classes: scores by class.
        confusion: the confusion matrix by class for few classes; empty for many.
        confused: the most frequent confusions.
        mistakes, disagreements: pictures with their thumbnails.
        charts: by name.
        timed: the benchmark; None if there is none.
        explained: the models whose heatmaps stand beside the pictures.
        corrupted: scores on corrupted pictures, of the model and its reference.
        attacked: scores under a gradient attack; empty if there was none.
        profile: where the model's time goes, by operator.
    """

    source: ReportSource
    rows: list[ModelRow]
    model: str
    reference: str
    classes: list[ClassRow]
    confusion: Sequence[Sequence[int]]
    confused: list[tuple[str, str, int]]
    mistakes: list[tuple[ShownPicture, Thumbnail]]
    disagreements: list[tuple[ShownPicture, Thumbnail]]
    charts: dict[str, charts.Chart]
    timed: BenchReport | None
    explained: list[str]
    corrupted: CorruptedScores | None = None
    attacked: Sequence[AttackScore] = ()
    profile: Profile | None = None


def make_section(
    source: ReportSource,
    timed: BenchReport | None,
    notes: list[str],
    progress: Progress,
    *,
    corruptions: bool,
) -> Section:
    """Score a source and make its section; what could not be done is added to `notes`.

    Args:
        source: the run or bundle.
        timed: its benchmark; None: no times are shown.
        notes: sentences for the top of the page.
        progress: where to show how far it is.
        corruptions: whether to score corrupted pictures as well.
    """
    scores = None
    if source.examples and source.models:
        try:
            scores = score_source(source, progress)
        except DataError as error:
            notes.append(f"{error} Were they moved? --data names another folder.")
    if scores and scores.answers.skipped:
        notes.append(
            f"{scores.answers.skipped} of {len(source.examples)} pictures could not be read; the "
            "rest is shown."
        )
    rows = model_rows(source, scores, timed)
    chosen = next((row.name for row in rows if row.chosen), "")
    section = Section(
        source=source, rows=rows, model=chosen, reference="", classes=[], confusion=(),
        confused=[], mistakes=[], disagreements=[], charts=_own_charts(source, rows, timed),
        timed=timed, explained=[], profile=_profile(timed, chosen),
    )  # fmt: skip
    if scores is None:
        return section
    section = _with_details(section, scores)
    return _with_corruptions(section, progress) if corruptions else section


def _profile(timed: BenchReport | None, model: str) -> Profile | None:
    """The operators' times of a model, through the engine that runs it fastest."""
    rows = [r for r in timed.rows if r.artifact == model and r.profile] if timed else []
    best = min(rows, key=lambda row: row.inference.p50_ms, default=None)
    return best.profile if best else None


def _own_charts(
    source: ReportSource, rows: list[ModelRow], timed: BenchReport | None
) -> dict[str, charts.Chart]:
    """The charts that need no pictures."""
    made = {}
    if source.curve:
        made["curve"] = charts.learning_curves(source.curve)
    if source.manifest and source.manifest.sensitivities:
        made["layers"] = charts.sensitivities(source.manifest.sensitivities)
    made |= cost_charts([(row.name, row) for row in rows])
    if timed and (staged := [r for r in timed.rows if r.decode and r.preprocess]):
        made["stages"] = charts.stages(
            [
                (
                    f"{r.artifact}, {r.engine.split()[0]}",
                    [x.p50_ms for x in (r.decode, r.preprocess, r.inference) if x],
                )
                for r in staged
            ],
            ("decode", "resize", "inference"),
        )
    return made


def comparison_charts(sections: Sequence[Section]) -> dict[str, charts.Chart]:
    """Accuracy against latency and size of all models of several runs and bundles."""
    return cost_charts([(f"{s.source.title}: {row.name}", row) for s in sections for row in s.rows])


def _with_corruptions(section: Section, progress: Progress) -> Section:
    named = dict.fromkeys((section.model, section.reference))
    models = [m for m in section.source.models if m.name in named]
    scores = score_corrupted(section.source, models, progress)
    made = {**section.charts, "corruptions": charts.corruptions(scores.scores, scores.clean)}
    return section._replace(corrupted=scores, charts=made)


def _with_details(section: Section, scores: Scores) -> Section:
    """Add what is known from the pictures about the section's model."""
    source = section.source
    model = next(m for m in source.models if m.name == section.model)
    reference = source.models[0]
    own = scores.reports[model.name]
    made = dict(section.charts)
    made["reliability"] = charts.reliability(
        scores.answers.truth, scores.answers.logits[model.name], model.temperature
    )
    many = len(own.labels) > _TABLE_CLASSES
    if many:
        made["confusion"] = charts.confusion_image(own.confusion)
    mistakes = confident_mistakes(source, scores, model, reference)
    differing = disagreeing(source, scores, model, reference) if model is not reference else []
    explained = _explained(source, model)
    return section._replace(
        reference=reference.name,
        classes=class_rows(own),
        confusion=() if many else own.confusion,
        confused=confusions(own),
        mistakes=_with_thumbnails(mistakes, source, explained),
        disagreements=_with_thumbnails(differing, source, explained),
        charts=made,
        explained=[m.name for m in explained],
    )


def _explained(source: ReportSource, model: ReportModel) -> list[ReportModel]:
    """The models whose heatmaps are shown: the float artifact of the model's format, and itself.

    If neither has a feature map, it is the reference, for which Grad-CAM needs none.
    """
    format_ = model.name.partition("-")[0]
    floats = [m for m in source.models if m.name == f"{format_}-fp32" and m is not model]
    own = [m for m in (*floats, model) if m.heatmap]
    return own or [m for m in source.models[:1] if m.heatmap]


def _with_thumbnails(
    shown: Sequence[ShownPicture], source: ReportSource, explained: list[ReportModel]
) -> list[tuple[ShownPicture, Thumbnail]]:
    drawn = [(one, make_thumbnail(one, source.preprocess, explained)) for one in shown]
    return [(one, thumbnail) for one, thumbnail in drawn if thumbnail]
