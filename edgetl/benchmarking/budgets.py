"""Limits on the latency, size and memory of a bundle's artifacts on this machine."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edgetl.benchmarking.reports import BenchRow


class Budgets(NamedTuple):
    """Upper limits for every measured artifact; None means no limit.

    Attributes:
        max_latency_ms: p90 from picture file to prediction if pictures were timed, else p90 of the
            inference.
        max_size_mb: of the artifact's files, in 10^6 bytes.
        max_memory_mb: peak resident memory of a process that predicts once, in 10^6 bytes.
    """

    max_latency_ms: float | None = None
    max_size_mb: float | None = None
    max_memory_mb: float | None = None


NO_BUDGETS = Budgets()


def over_budget(rows: Sequence[BenchRow], budgets: Budgets) -> list[str]:
    """One message for each exceeded limit, with the amount by which it is exceeded."""
    return [miss for row in rows for miss in _misses(row, budgets)]


def _misses(row: BenchRow, budgets: Budgets) -> Iterator[str]:
    timed, what = row.inference, "inference p90"
    if row.end_to_end:
        timed, what = row.end_to_end, "picture-to-prediction p90"
    checks = (
        ("latency", what, timed.p90_ms, budgets.max_latency_ms, "ms"),
        ("size", "size", row.bytes / 1e6, budgets.max_size_mb, "MB"),
        ("memory", "peak memory", row.peak_memory_bytes / 1e6, budgets.max_memory_mb, "MB"),
    )
    for option, name, value, limit, unit in checks:
        if limit is not None and value > limit:
            yield (
                f"{row.artifact} through {row.engine}: {name} {value:.2f} {unit}, "
                f"{value - limit:.2f} over --max-{option} {limit:g}"
            )
