"""The table of a report's models, and the charts of what they cost."""

from collections.abc import Sequence
from typing import NamedTuple

from edgetl.benchmarking.reports import BenchReport
from edgetl.bundle.manifest import Artifact
from edgetl.bundle.reports import Interval
from edgetl.workstation.report import charts
from edgetl.workstation.report.scores import Point, ReportSource, Scores


class ModelRow(NamedTuple):
    """A row of the table of models. Scores are 0 to 1; None where something is not known."""

    name: str
    engine: str
    megabytes: float | None
    top1: float | None
    interval: Interval | None
    drop_pp: float | None
    agreement: float | None
    p50_ms: float | None
    p90_ms: float | None
    chosen: bool


def model_rows(
    source: ReportSource, scores: Scores | None, timed: BenchReport | None
) -> list[ModelRow]:
    """The rows of a source's models, or of a bundle's artifacts if none were scored.

    The fastest int8 model is chosen for the details, or without times the smallest; if there is
    no int8 model, of all of them.
    """
    artifacts = {a.name: a for a in source.manifest.artifacts} if source.manifest else {}
    names = [model.name for model in source.models] if scores else list(artifacts)
    rows = [_row(name, artifacts.get(name), scores, source, timed) for name in names]
    int8 = [row for row in rows if "int8" in row.name] or rows
    best = min(
        int8, key=lambda row: (row.p50_ms or float("inf"), row.megabytes or 0.0), default=None
    )
    return [row._replace(chosen=row is best) for row in rows]


def _row(
    name: str,
    artifact: Artifact | None,
    scores: Scores | None,
    source: ReportSource,
    timed: BenchReport | None,
) -> ModelRow:
    times = [r.inference for r in timed.rows if r.artifact == name] if timed else []
    fastest = min(times, key=lambda latency: latency.p50_ms, default=None)
    row = ModelRow(
        name=name,
        engine="",
        megabytes=artifact.bytes / 1e6 if artifact else None,
        top1=None,
        interval=None,
        drop_pp=None,
        agreement=None,
        p50_ms=fastest.p50_ms if fastest else None,
        p90_ms=fastest.p90_ms if fastest else None,
        chosen=False,
    )
    if scores:
        own, reference = scores.reports[name], source.models[0].name
        answers = scores.answers
        return row._replace(
            engine=own.subject.partition(" through ")[2],
            top1=own.top1,
            interval=own.top1_interval,
            drop_pp=100 * (answers.top1(reference) - own.top1),
            agreement=answers.agreement(name, reference),
        )
    measured = artifact.measured if artifact else None
    if measured is None:
        return row
    return row._replace(
        engine=measured.engine,
        top1=measured.top1,
        drop_pp=measured.drop_pp,
        agreement=measured.agreement,
    )


def cost_charts(rows: Sequence[tuple[str, ModelRow]]) -> dict[str, charts.Chart]:
    """Accuracy against latency and against size, of the models for which they are known."""
    made = {}
    for label, unit in (("latency", "ms"), ("size", "MB")):
        points = []
        for name, row in rows:
            cost = row.p50_ms if label == "latency" else row.megabytes
            if cost is not None and row.top1 is not None:
                same = Interval(low=row.top1, high=row.top1)
                points.append(Point(name, cost, row.top1, row.interval or same))
        if points:
            made[label] = charts.accuracy_against(points, label, unit)
    return made
