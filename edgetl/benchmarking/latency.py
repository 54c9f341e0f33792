"""Time calls after a warm-up, and enough of them for meaningful tail percentiles."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from edgetl.benchmarking.intervals import quantile_interval
from edgetl.benchmarking.reports import Latency

WARM_UP_CALLS = 20
MIN_CALLS = 200

Clock = Callable[[], float]


class Rules(NamedTuple):
    """How much to time: at least `calls` calls, and until they take `seconds` in total."""

    calls: int
    seconds: float = 0.0


# For a quick look.
QUICK = Rules(MIN_CALLS)
# MLPerf Inference's single stream: one query at a time, the next when the previous one is done,
# at least 1,024 queries and 60 s (Reddi et al. 2020, "MLPerf Inference Benchmark", ISCA, table V
# and section III-D; the rules of rounds 0.5 to 1.1).
VALID = Rules(1024, 60.0)


def summarise(durations_ms: Sequence[float]) -> Latency:
    """Mean and percentiles (linear interpolation) of durations in milliseconds; at least one."""
    ordered = np.sort(np.asarray(durations_ms, np.float64))
    p50, p90, p99 = np.percentile(ordered, (50, 90, 99))
    return Latency(
        calls=len(ordered),
        seconds=float(ordered.sum()) / 1e3,
        mean_ms=float(ordered.mean()),
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        p50_interval=quantile_interval(ordered, 0.5),
        p90_interval=quantile_interval(ordered, 0.9),
        p99_interval=quantile_interval(ordered, 0.99),
    )


def time_calls(
    call: Callable[[], object],
    *,
    calls: int = MIN_CALLS,
    seconds: float = 0.0,
    warm_up: int = WARM_UP_CALLS,
    clock: Clock = time.perf_counter,
) -> Latency:
    """Time `call` by itself after `warm_up` untimed calls.

    Args:
        call: what to time.
        calls: the least number of timed calls.
        seconds: the least sum of their durations.
        warm_up: the number of untimed calls before.
        clock: returns seconds, from any starting point.
    """
    for _ in range(warm_up):
        call()
    durations_ms: list[float] = []
    spent_s = 0.0
    while len(durations_ms) < calls or spent_s < seconds:
        start = clock()
        call()
        duration_s = clock() - start
        durations_ms.append(duration_s * 1e3)
        spent_s += duration_s
    return summarise(durations_ms)
