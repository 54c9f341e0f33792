"""Timing calls: warm-up first, then enough of them for the tail to mean something."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from edgetl.core.reports import Latency

WARM_UP_CALLS = 20
MIN_CALLS = 200


def summarise(durations_ms: Sequence[float]) -> Latency:
    """Mean and percentiles (linear interpolation) of durations in milliseconds."""
    p50, p90, p99 = np.percentile(durations_ms, (50, 90, 99))
    return Latency(
        calls=len(durations_ms),
        mean_ms=float(np.mean(durations_ms)),
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
    )


def time_calls(
    call: Callable[[], object], *, calls: int = MIN_CALLS, warm_up: int = WARM_UP_CALLS
) -> Latency:
    """Time `call` by itself, `calls` times after `warm_up` untimed ones."""
    for _ in range(warm_up):
        call()
    durations_ms = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        durations_ms.append((time.perf_counter() - start) * 1e3)
    return summarise(durations_ms)
