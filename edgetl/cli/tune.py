"""`edgetl tune`."""

from pathlib import Path

import click

from edgetl.cli.help import examples
from edgetl.cli.show import wide_option


@click.command(
    "tune", epilog=examples("edgetl tune model.edgetl", "edgetl tune model.edgetl --json")
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@wide_option
def command(bundle: Path, as_json: bool) -> None:
    """Find the fastest way to run a BUNDLE on this machine, which `edgetl run` then takes.

    Times every artifact in every engine that is installed, with several numbers of threads, if
    its results match the workstation's.
    """
    from edgetl.benchmarking.fastest import tune
    from edgetl.bundle.archive import Bundle
    from edgetl.cli.progress import make_progress
    from edgetl.cli.show import ms, print_json, table

    timings = tune(Bundle(bundle), make_progress())
    if as_json:
        print_json(timings)
        return
    rows = [(t.artifact, t.engine, str(t.threads), ms(t.p50_ms)) for t in timings]
    click.echo(table(("artifact", "engine", "threads", "p50 ms"), rows))
    best = timings[0]
    click.echo(
        f"\nedgetl run now takes {best.artifact} through {best.engine}, threads: {best.threads}."
    )
