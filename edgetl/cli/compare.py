"""`edgetl compare`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgetl.cli.help import examples
from edgetl.cli.show import wide_option

if TYPE_CHECKING:
    from edgetl.remote.compare import CompareReport, HostComparison, Measurement


@click.command(
    "compare",
    epilog=examples(
        "edgetl compare",
        "edgetl compare old.edgetl new.edgetl --host pi@raspberrypi.local --wide",
    ),
)
@click.argument("bundles", nargs=-1, metavar="[BUNDLE]...")
@click.option("--results", "file", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="The file of results.  "
              "[default: results.sqlite in edgetl's data folder]")  # fmt: skip
@click.option("--host", "hosts", multiple=True, metavar="HOST",
              help="Only this host, by its name or fingerprint; may be repeated.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@wide_option
def command(
    bundles: tuple[str, ...], file: Path | None, hosts: tuple[str, ...], as_json: bool
) -> None:
    """Compare what `edgetl bench` measured: bundles, hosts, artifacts and engines.

    BUNDLE is a file, or the beginning of a bundle's hash; the others are compared with the first.
    Of each host the newest measurement counts.
    """
    from edgetl.cli.show import print_json
    from edgetl.remote.compare import compare_bundles
    from edgetl.remote.results import default_file, existing_results

    report = compare_bundles(existing_results(file or default_file()), bundles, hosts)
    if as_json:
        print_json(report)
    else:
        click.echo(_text(report))


def _text(report: "CompareReport") -> str:
    from edgetl.cli.show import table

    header = ("bundle", "host", "artifact", "engine", "threads", "p50 ms", "95 %", "p90 ms",
              "ratio", "valid", "MB", "when, UTC")  # fmt: skip
    rows = [_cells(one, report) for one in report.measurements]
    parts = [table(header, rows, keys=3)]
    parts += [_beside(one, report) for one in report.comparisons]
    return "\n\n".join(parts)


def _cells(one: "Measurement", report: "CompareReport") -> list[str]:
    from edgetl.cli.bench_tables import between_ms
    from edgetl.cli.show import mb, ms

    return [
        report.bundles[one.bundle_digest],
        _host(one.host, one.fingerprint, report),
        one.artifact,
        one.engine,
        str(one.threads),
        ms(one.p50_ms),
        between_ms(one.p50_interval),
        ms(one.p90_ms),
        f"{one.ratio:.2f}" if one.ratio else "-",
        one.validity,
        mb(one.bytes),
        one.measured_at[:16].replace("T", " "),
    ]


def _beside(one: "HostComparison", report: "CompareReport") -> str:
    """Format a bundle beside the first one on a host, as `edgetl bench --baseline` does."""
    from edgetl.cli.bench_tables import comparison_table
    from edgetl.cli.show import paragraph

    first = next(iter(report.bundles.values()))
    title = f"{report.bundles[one.bundle_digest]} beside {first} on {one.host}:"
    return paragraph(title) + "\n" + comparison_table(one.rows, "artifact")


def _host(name: str, fingerprint: str, report: "CompareReport") -> str:
    """The host's name; its fingerprint, too, if the name stands for more than one machine."""
    known = {one.fingerprint for one in report.measurements if one.host == name}
    return name if len(known) == 1 else f"{name} {fingerprint[:8]}"
