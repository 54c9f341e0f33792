"""The tables of `edgetl bench` after the first: intervals, comparison and profiles."""

from collections.abc import Sequence

from edgetl.benchmarking.reports import BenchRow, Comparison, Latency, QuantileInterval
from edgetl.cli.show import is_wide, ms, table

_SHOWN_OPERATORS = 15
_NAME_WIDTH = 36


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


def comparison_table(compared: Sequence[Comparison]) -> str:
    """Format the medians of the baseline and of this measurement."""
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
        "beside the baseline", "engine", "threads", "old p50 ms", "old 95 %", "new p50 ms",
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
