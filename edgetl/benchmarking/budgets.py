"""Budgets a bundle is held to on this machine."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edgetl.benchmarking.reports import BenchRow


class Budgets(NamedTuple):
    """What every measured artifact may take; None for as much as it likes.

    Attributes:
        max_latency_ms: p90, of picture to answer where pictures were timed, else of the inference.
        max_size_mb: of the artifact's files, in 10^6 bytes.
        max_memory_mb: peak resident memory of a process that answers once, in 10^6 bytes.
    """

    max_latency_ms: float | None = None
    max_size_mb: float | None = None
    max_memory_mb: float | None = None


NO_BUDGETS = Budgets()


def over_budget(rows: Sequence[BenchRow], budgets: Budgets) -> list[str]:
    """What takes more than it may, and by how much."""
    return [miss for row in rows for miss in _misses(row, budgets)]


def _misses(row: BenchRow, budgets: Budgets) -> Iterator[str]:
    timed, what = row.inference, "inference p90"
    if row.end_to_end:
        timed, what = row.end_to_end, "picture-to-answer p90"
    held = (
        ("latency", what, timed.p90_ms, budgets.max_latency_ms, "ms"),
        ("size", "size", row.bytes / 1e6, budgets.max_size_mb, "MB"),
        ("memory", "peak memory", row.peak_memory_bytes / 1e6, budgets.max_memory_mb, "MB"),
    )
    for option, name, value, limit, unit in held:
        if limit is not None and value > limit:
            yield (
                f"{row.artifact} through {row.engine}: {name} {value:.2f} {unit}, "
                f"{value - limit:.2f} over --max-{option} {limit:g}"
            )
