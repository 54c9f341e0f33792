"""`edgetl tune`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgetl.cli.help import examples
from edgetl.cli.hosts import host_option
from edgetl.cli.show import wide_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgetl.bundle.archive import Bundle
    from edgetl.runtime.tuned import Tuned


@click.command(
    "tune",
    epilog=examples(
        "edgetl tune model.edgetl",
        "edgetl tune model.edgetl --json",
        "edgetl tune model.edgetl --on pi@raspberrypi.local",
    ),
)
@click.argument("bundle", type=click.Path(path_type=Path))
@host_option("Tune another machine, over SSH: user@host, or a name of ~/.ssh/config.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@wide_option
def command(bundle: Path, place: str | None, ssh_config: Path | None, as_json: bool) -> None:
    """Find the fastest way to run a BUNDLE on this machine, which `edgetl run` then takes.

    Times every artifact in every engine that is installed, with several numbers of threads, if
    its results match the workstation's.
    """
    from edgetl.bundle.archive import Bundle
    from edgetl.cli.show import print_json

    opened = Bundle(bundle)
    timings = _tune_on(opened, place, ssh_config) if place else _tune_here(opened)
    if as_json:
        print_json(timings)
    else:
        click.echo(_text(timings, place))


def _tune_here(bundle: "Bundle") -> "list[Tuned]":
    from edgetl.benchmarking.fastest import tune
    from edgetl.cli.progress import make_progress

    return tune(bundle, make_progress())


def _tune_on(bundle: "Bundle", place: str, ssh_config: Path | None) -> "list[Tuned]":
    from edgetl.cli.hosts import session_on
    from edgetl.remote.commands import tune_there

    with session_on(place, ssh_config) as session:
        return tune_there(session, bundle)


def _text(timings: "Sequence[Tuned]", place: str | None) -> str:
    """Format a line for each combination, fastest first, and what `edgetl run` takes now."""
    from edgetl.cli.show import ms, table

    rows = [(t.artifact, t.engine, str(t.threads), ms(t.p50_ms)) for t in timings]
    best, there = timings[0], f" on {place}" if place else ""
    return (
        table(("artifact", "engine", "threads", "p50 ms"), rows)
        + f"\n\nedgetl run{there} now takes {best.artifact} through {best.engine}, "
        f"threads: {best.threads}."
    )
