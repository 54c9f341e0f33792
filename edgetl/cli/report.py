"""`edgetl report`."""

from pathlib import Path

import click

import edgetl
from edgetl.cli.help import SectionedCommand, examples


@click.command(
    "report",
    cls=SectionedCommand,
    sections={
        "Pictures": ("--data", "--no-corruptions", "--attack"),
        "Times": ("--bench", "--no-bench"),
        "Output": ("--out", "--card"),
    },
    epilog=examples(
        "edgetl report run model.edgetl -o report.html",
        "edgetl report model.edgetl --data photos/ --bench pi.json",
        "edgetl report --card model.edgetl -o README.md",
    ),
)
@click.argument("targets", nargs=-1, required=True, metavar="RUN|BUNDLE...")
@click.option(
    "-o",
    "--out",
    default=None,
    type=click.Path(path_type=Path),
    help="The file.  [default: report.html, with --card model-card.md]",
)
@click.option(
    "--data",
    default=None,
    metavar="DATA",
    help="Labelled pictures to score on.  [default: those that the run held out]",
)
@click.option(
    "--bench",
    "benchmark",
    default=None,
    metavar="FILE",
    help="Show this report of `edgetl bench --json` instead of timing here.",
)
@click.option(
    "--no-corruptions",
    is_flag=True,
    help="Don't score blurred, noisy, compressed, dark and colour-cast pictures.",
)
@click.option(
    "--attack",
    is_flag=True,
    help="Also change pictures by the run's own gradients (FGSM, PGD); needs a RUN.",
)
@click.option("--no-bench", is_flag=True, help="Show no times.")
@click.option("--card", is_flag=True, help="Write a model card of one BUNDLE instead.")
def command(
    targets: tuple[str, ...],
    out: Path | None,
    data: str | None,
    benchmark: str | None,
    no_bench: bool,
    no_corruptions: bool,
    attack: bool,
    card: bool,
) -> None:
    """Write a report of runs and bundles: one HTML file that needs no network.

    Give a run together with its bundle: the pictures that the run held out are then scored through
    torch and through every artifact. A bundle alone has no pictures; --data names some.

    With --card the file is a model card for Hugging Face: Markdown with a YAML header.
    """
    from edgetl.cli.progress import make_progress
    from edgetl.workstation.libraries import require_report

    require_report()
    if card:
        from edgetl.workstation.report.card import write_card

        if len(targets) != 1:
            raise click.UsageError("--card takes one BUNDLE.")
        written = write_card(Path(targets[0]), out or Path("model-card.md"))
    else:
        written = edgetl.report(
            targets,
            out or "report.html",
            data=data,
            benchmark=benchmark or not no_bench,
            corruptions=not no_corruptions,
            attack=attack,
            progress=make_progress(),
        )
    click.echo(f"{written}: {written.stat().st_size / 1e6:.1f} MB")
