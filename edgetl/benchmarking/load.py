"""Measure how much of the machine's CPU time other processes take."""

import os
import time
from pathlib import Path
from typing import NamedTuple

from edgetl.benchmarking.sysfs import read_text

# The least CPU time, summed over all cores, from which a share is computed.
_MIN_S = 1.0


class CpuTime(NamedTuple):
    """CPU seconds since a fixed moment, summed over all cores.

    Attributes:
        busy_s: the time in which the machine's cores were busy, including the time that a
            hypervisor gave to other virtual machines.
        whole_s: busy and idle time together.
        own_s: the time of this process and of the children it has waited for.
    """

    busy_s: float
    whole_s: float
    own_s: float


def read_cpu_time(root: Path = Path("/"), *, own_s: float | None = None) -> CpuTime | None:
    """Read /proc/stat under `root`; None if the system has none.

    Args:
        root: the folder that contains `proc`.
        own_s: this process's CPU time; None: from the operating system.
    """
    ticks = read_text(root / "proc/stat").partition("\n")[0].split()
    if len(ticks) < 9 or ticks[0] != "cpu":
        return None
    # The time of guests follows, but user and nice already include it.
    user, nice, system, idle, iowait, irq, softirq, steal = (float(tick) for tick in ticks[1:9])
    busy = user + nice + system + irq + softirq + steal
    per_second = os.sysconf("SC_CLK_TCK")
    own = sum(os.times()[:4]) if own_s is None else own_s
    return CpuTime(busy / per_second, (busy + idle + iowait) / per_second, own)


def share_of_others(start: CpuTime | None, end: CpuTime | None) -> float | None:
    """The fraction (0 to 1) of the machine's CPU time that others took between two readings.

    None if a reading is None or they are too close: the kernel counts in ticks of about 10 ms.
    """
    if start is None or end is None or end.whole_s - start.whole_s < _MIN_S:
        return None
    others_s = (end.busy_s - start.busy_s) - (end.own_s - start.own_s)
    return min(1.0, max(0.0, others_s / (end.whole_s - start.whole_s)))


class LoadMeter:
    """Measures other processes' share of the CPU between successive calls of `lap`."""

    def __init__(self) -> None:
        self._start, self._started = read_cpu_time(), time.monotonic()

    def lap(self, at_least_s: float = 0.0) -> float | None:
        """Wait until the last lap is `at_least_s` seconds ago; returns others' share since then."""
        time.sleep(max(0.0, self._started + at_least_s - time.monotonic()))
        end = read_cpu_time()
        share = share_of_others(self._start, end)
        self._start, self._started = end, time.monotonic()
        return share
