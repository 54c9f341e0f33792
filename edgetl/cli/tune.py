"""`edgetl tune`."""

from pathlib import Path

import click


@click.command("tune")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(bundle: Path, as_json: bool) -> None:
    """Find the fastest way to run a BUNDLE on this machine, which `edgetl run` then takes.

    Times every artifact through every engine that is here, with several numbers of threads, where
    it answers as the workstation did.
    """
    from edgetl.benchmarking.fastest import tune
    from edgetl.bundle.archive import Bundle
    from edgetl.cli.progress import make_progress
    from edgetl.cli.show import ms, print_json, table

    tried = tune(Bundle(bundle), make_progress())
    if as_json:
        print_json(tried)
        return
    rows = [(way.artifact, way.engine, str(way.threads), ms(way.p50_ms)) for way in tried]
    click.echo(table(("artifact", "engine", "threads", "p50 ms"), rows))
    best = tried[0]
    click.echo(
        f"\nedgetl run now takes {best.artifact} through {best.engine}, threads: {best.threads}."
    )
