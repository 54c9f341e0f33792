"""`edgetl bench`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgetl.benchmarking.reports import BenchReport, BenchRow
from edgetl.cli.completion import engines_or_all
from edgetl.cli.help import SectionedCommand, examples
from edgetl.cli.options import artifact_option, budget_options, engine_option, threads_option
from edgetl.cli.show import wide_option

if TYPE_CHECKING:
    from edgetl.benchmarking.budgets import Budgets
    from edgetl.bundle.archive import Bundle


@click.command(
    "bench",
    cls=SectionedCommand,
    sections={
        "What to time": ("--engine", "--artifact", "--threads"),
        "How to time": ("--calls", "--mode", "--profile"),
        "Limits": ("--baseline", "--max-latency", "--max-size", "--max-memory"),
    },
    epilog=examples(
        "edgetl bench model.edgetl photos/",
        "edgetl bench model.edgetl --engine auto --json bench.json",
    ),
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("pictures", required=False, type=click.Path(path_type=Path))
@engine_option("An engine's name, auto, or all.", default="all", choices=engines_or_all)
@artifact_option("Only this artifact, e.g. onnx-int8.  [default: all]")
@threads_option("as in `edgetl run`")
@click.option("--calls", type=click.IntRange(200), default=200, show_default=True,
              help="Timed calls of each artifact, at least.")  # fmt: skip
@click.option("--mode", type=click.Choice(["quick", "valid", "throughput"]), default="quick",
              show_default=True, help="valid: 1,024 queries and 60 s of each, by MLPerf's rules. "
              "throughput: quick, and pictures a second with all cores.")  # fmt: skip
@click.option("--profile", "profiled", is_flag=True, help="Also time each operator.")
@click.option("--baseline", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="A report from --json; exit 3 if a median is slower now.")  # fmt: skip
@budget_options("picture to prediction (inference if no PICTURES are given)")
@click.option("--json", "json_file", type=click.Path(path_type=Path, allow_dash=True), default=None,
              metavar="FILE", help="Also write a report to FILE; - prints only it.")  # fmt: skip
@wide_option
def command(
    bundle: Path,
    pictures: Path | None,
    baseline: Path | None,
    json_file: Path | None,
    max_latency: float | None,
    max_size: float | None,
    max_memory: float | None,
    **options: Any,
) -> None:
    """Time a BUNDLE on this machine, with PICTURES for decode and end-to-end times."""
    from edgetl.benchmarking.baseline import read_baseline
    from edgetl.benchmarking.budgets import Budgets
    from edgetl.benchmarking.run import CutShort, not_measured
    from edgetl.bundle.archive import Bundle
    from edgetl.core.files import require_writable

    if json_file and str(json_file) != "-":
        require_writable(json_file)
    opened = Bundle(bundle)
    old = read_baseline(baseline, opened) if baseline else None
    try:
        report = _measure(opened, pictures, options)
    except CutShort as interrupt:
        _show(_compared(interrupt.report, old), json_file)
        raise
    report = _compared(report, old)
    _show(report, json_file)
    _require(report, Budgets(max_latency, max_size, max_memory))
    if report.failed:
        raise not_measured(report.failed)


def _measure(bundle: "Bundle", pictures: Path | None, options: dict[str, Any]) -> BenchReport:
    from edgetl.benchmarking.run import bench
    from edgetl.cli.progress import make_progress
    from edgetl.runtime.sources import find_sources

    paths = [Path(s.name) for s in find_sources([str(pictures)])] if pictures else []
    return bench(bundle, paths, progress=make_progress(), **options)


def _compared(report: BenchReport, old: BenchReport | None) -> BenchReport:
    """Add the comparison with a baseline to a report; warn if it is from another machine."""
    import msgspec

    from edgetl.benchmarking.baseline import compare, host_differences

    if old is None:
        return report
    if differs := host_differences(old.host, report.host):
        click.echo(f"Warning: the baseline is of another host: {differs}.", err=True)
    return msgspec.structs.replace(report, comparison=compare(old.rows, report.rows))


def _show(report: BenchReport, json_file: Path | None) -> None:
    from edgetl.cli.show import print_json
    from edgetl.core.files import write_text
    from edgetl.core.schema import to_json

    if json_file and str(json_file) == "-":
        print_json(report)
        return
    click.echo(text(report))
    if json_file:
        write_text(json_file, to_json(report))


def _require(report: BenchReport, budgets: "Budgets") -> None:
    """Raises GateMissedError, which lists all that is over its budget or became slower."""
    from edgetl.benchmarking.baseline import regressions
    from edgetl.benchmarking.budgets import Budgets, over_budget
    from edgetl.core.errors import GateMissedError

    slower = regressions(report.comparison or ())
    missed = over_budget(report.rows, budgets) + slower
    if missed:
        late = over_budget(report.rows, Budgets(max_latency_ms=budgets.max_latency_ms))
        doubts = report.verdict.reasons if late or slower else ()
        raise GateMissedError(
            f"{'; '.join(missed)}.",
            hint=f"measure again on a calm machine: {'; '.join(doubts)}." if doubts else "",
        )


def text(report: BenchReport) -> str:
    """Format a report: the host, a row for each artifact and engine, and the verdict."""
    from edgetl.cli.bench_tables import comparison_table, interval_table, profile_tables
    from edgetl.cli.show import paragraph

    parts = [paragraph(_facts(report), indent="  ")]
    if report.rows:
        parts += [_figures(report.rows), interval_table(report.rows)]
    parts += profile_tables(report.rows)
    if report.comparison:
        parts.append(comparison_table(report.comparison))
    parts.append(paragraph(report.verdict.text))
    return "\n\n".join(parts)


def _facts(report: BenchReport) -> str:
    host = report.host
    temperature = f"{host.temperature_c:.0f} C" if host.temperature_c is not None else "unknown"
    load = f"{host.load_1min:.2f}" if host.load_1min is not None else "unknown"
    return (
        f"{host.cpu}, {host.cores} cores, {host.memory_bytes / 2**30:.1f} GiB, {host.system}, "
        f"Python {host.python}\n"
        f"instructions {' '.join(host.isa) or 'unknown'}; governor {host.governor}; "
        f"temperature {temperature}; load {load}"
    )


def _figures(rows: tuple[BenchRow, ...]) -> str:
    """A row for each artifact and engine; columns of which nothing was measured are left out."""
    from edgetl.cli.show import mb, ms, table

    columns = {
        "artifact": [row.artifact for row in rows],
        "engine": [row.engine for row in rows],
        "threads": [str(row.threads) for row in rows],
        "MB": [mb(row.bytes) for row in rows],
        "peak MB": [mb(row.peak_memory_bytes) for row in rows],
        "p50 ms": [ms(row.inference.p50_ms) for row in rows],
        "p90 ms": [ms(row.inference.p90_ms) for row in rows],
        "p99 ms": [ms(row.inference.p99_ms) for row in rows],
        "cold start ms": [f"{row.cold_start_ms:.0f}" for row in rows],
        "decode ms": [ms(row.decode.p50_ms if row.decode else None) for row in rows],
        "resize ms": [ms(row.preprocess.p50_ms if row.preprocess else None) for row in rows],
        "picture to prediction ms": [
            ms(row.end_to_end.p50_ms if row.end_to_end else None) for row in rows
        ],
        "pictures/s": [
            f"{row.throughput.pictures_per_s:.0f}" if row.throughput else "-" for row in rows
        ],
        "mJ": [f"{row.energy.per_inference_mj:.2f}" if row.energy else "-" for row in rows],
    }
    shown = {title: cells for title, cells in columns.items() if set(cells) != {"-"}}
    return table(list(shown), list(zip(*shown.values(), strict=True)), keys=2)
