"""Measure pictures per second with every core busy."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from edgetl.benchmarking.latency import WARM_UP_CALLS, Clock
from edgetl.benchmarking.reports import Throughput

SECONDS = 3.0


def run_side_by_side(
    calls: Sequence[Callable[[], object]],
    *,
    seconds: float = SECONDS,
    clock: Clock = time.perf_counter,
) -> Throughput:
    """Call each of `calls` repeatedly in a thread of its own, all at the same time.

    After `seconds` each thread finishes its current picture; every thread runs at least one. The
    clock stops when the last thread is done.

    Args:
        calls: one for each engine, which runs one inference; engines must not share state.
        seconds: how long to start new pictures.
        clock: returns seconds, from any starting point.

    Raises the exception of a call that fails.
    """
    for call in calls:
        for _ in range(WARM_UP_CALLS):
            call()
    time_is_up = threading.Event()

    def work(call: Callable[[], object]) -> int:
        pictures = 0
        while pictures == 0 or not time_is_up.is_set():
            call()
            pictures += 1
        return pictures

    with ThreadPoolExecutor(len(calls), "edgetl-bench") as pool:
        start = clock()
        running = [pool.submit(work, call) for call in calls]
        try:
            wait(running, seconds, FIRST_EXCEPTION)
        finally:  # also if Ctrl-C ends the wait
            time_is_up.set()
        total = sum(future.result() for future in running)
        spent_s = clock() - start
    return Throughput(
        engines=len(calls),
        pictures=total,
        seconds=spent_s,
        pictures_per_s=total / spent_s,
    )
