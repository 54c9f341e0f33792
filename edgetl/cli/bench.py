"""`edgetl bench`."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgetl.benchmarking.reports import BenchReport
from edgetl.cli.completion import engines_or_all
from edgetl.cli.help import SectionedCommand, examples
from edgetl.cli.hosts import (
    FLEET_OPTIONS,
    HOST_OPTIONS,
    ResultStore,
    fleet_options,
    host_option,
    take_where,
)
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
        "On other machines": (*HOST_OPTIONS, *FLEET_OPTIONS, "--cool-down", "--results"),
    },
    epilog=examples(
        "edgetl bench model.edgetl photos/",
        "edgetl bench model.edgetl --engine auto --json bench.json",
        "edgetl bench model.edgetl photos/ --on pi@raspberrypi.local",
        "edgetl bench model.edgetl --inventory boards.ini --hosts 'pi*' --mode valid",
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
@host_option("Time it on another machine, over SSH: user@host, or a name of ~/.ssh/config.")
@fleet_options()
@click.option("--cool-down", "cool_down_s", type=click.FloatRange(0), default=None, metavar="S",
              help="Wait at most S seconds until another machine is idle and cool.  "
              "[default: 120]")  # fmt: skip
@click.option("--results", "results_file", type=click.Path(path_type=Path), default=None,
              metavar="FILE", help="Add the times to this file, for `edgetl compare`.  [default, "
              "of other machines: results.sqlite in edgetl's data folder]")  # fmt: skip
@wide_option
def command(
    bundle: Path,
    pictures: Path | None,
    baseline: Path | None,
    json_file: Path | None,
    max_latency: float | None,
    max_size: float | None,
    max_memory: float | None,
    cool_down_s: float | None,
    results_file: Path | None,
    **options: Any,
) -> None:
    """Time a BUNDLE on this machine, with PICTURES for decode and end-to-end times.

    With --on or --inventory it is timed on other machines, which `edgetl devices setup` prepares,
    or else this command does. Nothing stays running there, and what was sent is removed.
    """
    from edgetl.benchmarking.baseline import read_baseline
    from edgetl.benchmarking.budgets import Budgets
    from edgetl.bundle.archive import Bundle
    from edgetl.core.files import require_writable
    from edgetl.runtime.sources import find_sources

    where = take_where(options)
    if baseline and where.inventory:
        raise click.UsageError("--baseline is of one machine; `edgetl compare` compares several.")
    if cool_down_s is not None and not where.elsewhere:
        raise click.UsageError("--cool-down belongs to --on and --inventory.")
    if json_file and str(json_file) != "-":
        require_writable(json_file)
    opened = Bundle(bundle)
    old = read_baseline(baseline, opened) if baseline else None
    budgets = Budgets(max_latency, max_size, max_memory)
    files = [Path(s.name) for s in find_sources([str(pictures)])] if pictures else []
    store = ResultStore(results_file, wanted=where.elsewhere or results_file is not None)
    if not where.elsewhere:
        report = _measure_here(opened, files, options, old, json_file)
        store.add(report, platform.node())
        _judge(report, old, json_file, budgets, store)
        return

    from edgetl.cli.bench_hosts import HostBench

    work = HostBench(opened, files, options, cool_down_s, store)
    if where.inventory:
        _require(work.show_on_all(where, json_file), budgets)
    else:
        _judge(work.on_one(where), old, json_file, budgets, store)


def _measure_here(
    bundle: "Bundle",
    pictures: Sequence[Path],
    options: dict[str, Any],
    old: BenchReport | None,
    json_file: Path | None,
) -> BenchReport:
    from edgetl.benchmarking.run import CutShort, bench
    from edgetl.cli.progress import make_progress

    try:
        return bench(bundle, pictures, progress=make_progress(), **options)
    except CutShort as interrupt:
        _show(_compared(interrupt.report, old), json_file)
        raise


def _judge(
    report: BenchReport,
    old: BenchReport | None,
    json_file: Path | None,
    budgets: "Budgets",
    store: ResultStore,
) -> None:
    """Print a report. Raises GateMissedError or EngineError if it does not hold what it should."""
    from edgetl.benchmarking.run import not_measured

    report = _compared(report, old)
    _show(report, json_file)
    store.require_complete()
    _require({"": report}, budgets)
    if report.failed:
        raise not_measured(report.failed)


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
    from edgetl.cli.bench_tables import text
    from edgetl.cli.show import print_or_write

    print_or_write(report, text, json_file)


def _require(reports: Mapping[str, BenchReport], budgets: "Budgets") -> None:
    """Raises GateMissedError, which lists all that is over its budget or became slower.

    Args:
        reports: by host; "" stands for the only one.
        budgets: the limits of every row.
    """
    from edgetl.benchmarking.baseline import regressions
    from edgetl.benchmarking.budgets import Budgets, over_budget
    from edgetl.core.errors import GateMissedError

    missed, doubts = [], []
    for host, report in reports.items():
        slower = regressions(report.comparison or ())
        beginning = f"{host}: " if host else ""
        missed += [beginning + miss for miss in over_budget(report.rows, budgets) + slower]
        late = over_budget(report.rows, Budgets(max_latency_ms=budgets.max_latency_ms))
        if late or slower:
            doubts += [beginning + reason for reason in report.verdict.reasons]
    if missed:
        raise GateMissedError(
            f"{'; '.join(missed)}.",
            hint=f"measure again on a calm machine: {'; '.join(doubts)}." if doubts else "",
        )
