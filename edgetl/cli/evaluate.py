"""`edgetl evaluate`."""

from pathlib import Path

import click

from edgetl.core.reports import AccuracyReport


@click.command("evaluate")
@click.argument("target", type=click.Path(path_type=Path), metavar="RUN|BUNDLE")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--artifact", default=None, help="Of a bundle, e.g. tflite-int8.")
@click.option("--engine", default="auto", show_default=True, help="Of a bundle.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(target: Path, data: Path, artifact: str | None, engine: str, as_json: bool) -> None:
    """Score a run or a bundle on the pictures in DATA, matched by label.

    DATA is as for finetune. Of train/val/test folders, or a table with a split column, the
    test part is scored, or where there is none the val part.
    """
    from edgetl.cli.progress import make_progress
    from edgetl.cli.show import print_json
    from edgetl.pipeline.evaluate import evaluate

    report = evaluate(target, data, artifact=artifact, engine=engine, progress=make_progress())
    if as_json:
        print_json(report)
    else:
        click.echo(_text(report))


def _text(report: AccuracyReport) -> str:
    from edgetl.cli.show import percent, table

    summary = (
        f"{report.subject}: {report.images} pictures"
        + (f" ({report.skipped} unreadable ones skipped)" if report.skipped else "")
        + f"\ntop-1 {report.top1:.2%}  macro precision {report.macro_precision:.2%}"
        f"  recall {report.macro_recall:.2%}  F1 {report.macro_f1:.2%}"
    )
    classes = table(
        ("class", "pictures", "precision %", "recall %", "F1 %"),
        [
            (c.label, str(c.images), percent(c.precision), percent(c.recall), percent(c.f1))
            for c in report.per_class
        ],
    )
    confusion = table(
        ("true \\ said", *report.labels),
        [
            (label, *map(str, row))
            for label, row in zip(report.labels, report.confusion, strict=True)
        ],
    )
    return f"{summary}\n\n{classes}\n\n{confusion}"
