"""`edgetl evaluate`."""

from pathlib import Path

import click

import edgetl
from edgetl.bundle.reports import AccuracyReport
from edgetl.cli.help import examples
from edgetl.cli.options import artifact_option, engine_option
from edgetl.cli.show import wide_option


@click.command(
    "evaluate",
    epilog=examples(
        "edgetl evaluate run photos/",
        "edgetl evaluate model.edgetl photos/ --artifact tflite-int8 --json",
        "edgetl evaluate model.edgetl new-photos/ --against other-things/",
    ),
)
@click.argument("target", type=click.Path(path_type=Path), metavar="RUN|BUNDLE")
@click.argument("data", type=click.Path(path_type=Path))
@artifact_option("The bundle's artifact to score.  [default: as in `edgetl run`]")
@engine_option("The engine to score a bundle with.")
@click.option(
    "--corruptions",
    is_flag=True,
    help="Also score under blur, noise, compression, darkness and a colour cast.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="Pictures that show none of the classes: score the answer 'unknown' on them, too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@wide_option
def command(
    target: Path,
    data: Path,
    artifact: str | None,
    engine: str,
    corruptions: bool,
    against: Path | None,
    as_json: bool,
) -> None:
    """Score a run or a bundle on the pictures in DATA, matched by label.

    DATA is as for finetune. Of train/val/test folders, or a table with a split column, the
    test part is scored, or the val part if there is none. Scores of pictures that were trained on
    are better than those of any others. With --against, every artifact is scored on DATA and DIR
    through every engine here, unless --artifact or --engine names one.
    """
    from edgetl.cli.progress import make_progress
    from edgetl.cli.show import print_json

    report = edgetl.evaluate(
        target,
        data,
        artifact=artifact,
        engine=engine,
        corruptions=corruptions,
        against=against,
        progress=make_progress(),
    )
    if as_json:
        print_json(report)
    else:
        click.echo(_text(report))


def _text(report: AccuracyReport) -> str:
    parts = [_summary(report), _classes(report), _confusion(report)]
    if report.corruptions:
        parts.append(_corruptions(report))
    if report.unknown:
        parts.append(_unknown(report))
    return "\n\n".join(parts)


def _summary(r: AccuracyReport) -> str:
    from edgetl.cli.show import between, paragraph

    lines = [
        f"{r.subject}: {r.images} pictures"
        + (f" ({r.skipped} unreadable ones skipped)" if r.skipped else ""),
        f"top-1     {r.top1:.2%}  (95% interval {between(r.top1_interval)})"
        + (f"  top-5 {r.top5:.2%}" if r.top5 is not None else ""),
        f"macro F1  {r.macro_f1:.2%}  (95% interval {between(r.macro_f1_interval)})"
        f"  balanced accuracy {r.balanced_accuracy:.2%}",
    ]
    if r.roc_auc is not None and r.roc_auc_interval is not None:
        lines.append(
            f"ROC-AUC   {r.roc_auc:.2%}  (95% interval {between(r.roc_auc_interval)})"
            f"  positive: {r.positive}"
        )
    lines.append(
        f"ECE       {r.ece_after:.2%} at temperature {r.temperature:.3f} ({r.ece_before:.2%} at 1)"
        f"  NLL {r.nll_after:.4f} ({r.nll_before:.4f} at 1)"
    )
    return paragraph("\n".join(lines), indent=" " * len("top-1     "))


def _classes(r: AccuracyReport) -> str:
    from edgetl.cli.show import percent, table

    def row(label: str, images: int, *scores: float) -> tuple[str, ...]:
        return label, str(images), *map(percent, scores)

    rows = [row(c.label, c.images, c.precision, c.recall, c.f1) for c in r.per_class]
    macro = row("macro mean", r.images, r.macro_precision, r.macro_recall, r.macro_f1)
    weighted = row(
        "weighted mean", r.images, r.weighted_precision, r.weighted_recall, r.weighted_f1
    )
    return table(("class", "pictures", "precision %", "recall %", "F1 %"), [*rows, macro, weighted])


def _confusion(r: AccuracyReport) -> str:
    from edgetl.cli.show import table

    counts = zip(r.labels, r.confusion, strict=True)
    return table(("true \\ said", *r.labels), [(label, *map(str, row)) for label, row in counts])


def _corruptions(r: AccuracyReport) -> str:
    """Top-1 by corruption and severity, and the mean over all."""
    from edgetl.cli.show import percent, table
    from edgetl.evaluation.corruptions import SEVERITIES, mean_top1

    kinds = dict.fromkeys(score.corruption for score in r.corruptions)
    top1 = {(score.corruption, score.severity): score.top1 for score in r.corruptions}
    rows = [(kind, *(percent(top1[kind, severity]) for severity in SEVERITIES)) for kind in kinds]
    header = ("top-1 % at severity", *map(str, SEVERITIES))
    mean = f"mean over all {mean_top1(r.corruptions):.2%}, without corruption {r.top1:.2%}"
    return f"{table(header, rows)}\n{mean}"


def _unknown(r: AccuracyReport) -> str:
    """How each artifact tells the foreign pictures from its own."""
    from edgetl.cli.show import percent, table

    rows = [
        (
            score.artifact,
            score.engine,
            percent(score.answered),
            percent(score.top1),
            percent(score.foreign.auroc),
            percent(score.foreign.confidence_auroc),
            percent(score.foreign.fpr95),
            percent(score.foreign.answered),
        )
        for score in r.unknown
    ]
    foreign = r.unknown[0].foreign
    header = (
        "artifact", "through", "answered %", "top-1 of those %", "AUROC %", "by confidence %",
        "FPR95 %", f"{foreign.folder} answered %",
    )  # fmt: skip
    return f"against {foreign.images} pictures of {foreign.folder}\n{table(header, rows, keys=2)}"
