"""The text of `edgetl bench`: times, intervals, comparison with a baseline, and profiles."""

from collections.abc import Sequence

from edgetl.benchmarking.reports import (
    BenchReport,
    BenchRow,
    Comparison,
    Latency,
    QuantileInterval,
)
from edgetl.cli.show import is_wide, mb, ms, paragraph, table

_SHOWN_OPERATORS = 15
_NAME_WIDTH = 36


def text(report: BenchReport) -> str:
    """Format a report: the host, a row for each artifact and engine, and the verdict."""
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


def interval_table(rows: Sequence[BenchRow]) -> str:
    """Format the 95 % confidence interval of each quantile."""
    header = ["95 % intervals", "of", "calls", "s", "p50 ms", "p90 ms", "p99 ms"]
    lines = []
    for row in rows:
        name = f"{row.artifact} {row.engine.partition(' ')[0]}"
        lines.append([name, "inference", *_intervals(row.inference)])
        if row.end_to_end:
            lines.append([name, "picture to prediction", *_intervals(row.end_to_end)])
    return table(header, lines, keys=2)


def _intervals(timed: Latency) -> list[str]:
    each = (timed.p50_interval, timed.p90_interval, timed.p99_interval)
    return [str(timed.calls), f"{timed.seconds:.1f}", *map(between_ms, each)]


def between_ms(interval: QuantileInterval) -> str:
    """Format an interval in words; with too few calls a side is open."""
    if interval.low_ms is None and interval.high_ms is None:
        return "too few calls"
    if interval.low_ms is None:
        return f"up to {ms(interval.high_ms)}"
    if interval.high_ms is None:
        return f"{ms(interval.low_ms)} or more"
    return f"{ms(interval.low_ms)} to {ms(interval.high_ms)}"


def comparison_table(compared: Sequence[Comparison], title: str = "beside the baseline") -> str:
    """Format the medians of the baseline and of this measurement; `title` is the first column's."""
    lines = [
        (
            one.artifact,
            one.engine,
            str(one.threads),
            ms(one.old_ms),
            between_ms(one.old_interval) if one.old_interval else "-",
            ms(one.new_ms),
            between_ms(one.new_interval),
            f"{one.ratio:.2f}" if one.ratio else "-",
            one.verdict,
        )
        for one in compared
    ]
    header = (
        title, "engine", "threads", "old p50 ms", "old 95 %", "new p50 ms",
        "new 95 %", "ratio", "verdict",
    )  # fmt: skip
    return table(header, lines, keys=2)


def profile_tables(rows: Sequence[BenchRow]) -> list[str]:
    """Format the costliest operators of each profiled row, and the time of each operator kind."""
    return [part for row in rows for part in _profile_of(row)]


def _profile_of(row: BenchRow) -> list[str]:
    if row.profile is None:
        return []
    title = f"{row.artifact} through {row.engine}"
    if not row.profile.operators:
        return [f"{title}: no profile. {row.profile.note}"]
    operators = [
        (_shortened(o.name), o.kind, f"{o.mean_ms:.3f}", f"{100 * o.share:.1f}")
        for o in row.profile.operators[:_SHOWN_OPERATORS]
    ]
    kinds = [
        (k.kind, str(k.operators), f"{k.mean_ms:.3f}", f"{100 * k.share:.1f}")
        for k in row.profile.kinds
    ]
    left = len(row.profile.operators) - len(operators)
    more = f"\nand {left} more" if left else ""
    return [
        f"{title}, by its own profiler:\n"
        + table(("operator", "kind", "ms", "% of all"), operators)
        + more,
        table(("kind of operator", "how many", "ms", "% of all"), kinds),
    ]


def _shortened(name: str) -> str:
    """Cut a long name's beginning, because operators of a network differ in their names' ends."""
    return name if is_wide() or len(name) <= _NAME_WIDTH else f"…{name[1 - _NAME_WIDTH :]}"
