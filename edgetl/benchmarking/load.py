"""How much of the machine's CPU time others take meanwhile."""

import os
import time
from pathlib import Path
from typing import NamedTuple

from edgetl.benchmarking.sysfs import read_text

# So much of all cores' time has to have gone by.
_MIN_S = 1.0


class CpuTime(NamedTuple):
    """Seconds since some moment, over all cores.

    Attributes:
        busy_s, whole_s: of the machine; busy holds what a hypervisor gave to others.
        own_s: of this process and the children it has waited for.
    """

    busy_s: float
    whole_s: float
    own_s: float


def read_cpu_time(root: Path = Path("/"), *, own_s: float | None = None) -> CpuTime | None:
    """Read /proc/stat under `root`; None where the system has none.

    Args:
        root: the root of a file system.
        own_s: this process's part; None asks the system.
    """
    ticks = read_text(root / "proc/stat").partition("\n")[0].split()
    if len(ticks) < 9 or ticks[0] != "cpu":
        return None
    # user nice system idle iowait irq softirq steal; guests are counted among user and nice.
    user, nice, system, idle, iowait, irq, softirq, steal = (float(tick) for tick in ticks[1:9])
    busy = user + nice + system + irq + softirq + steal
    per_second = os.sysconf("SC_CLK_TCK")
    own = sum(os.times()[:4]) if own_s is None else own_s
    return CpuTime(busy / per_second, (busy + idle + iowait) / per_second, own)


def share_of_others(start: CpuTime | None, end: CpuTime | None) -> float | None:
    """The fraction (0 to 1) of the machine's CPU time between the two that others took.

    None where there is too little between them: the kernel counts in ticks of some 10 ms.
    """
    if start is None or end is None or end.whole_s - start.whole_s < _MIN_S:
        return None
    others_s = (end.busy_s - start.busy_s) - (end.own_s - start.own_s)
    return min(1.0, max(0.0, others_s / (end.whole_s - start.whole_s)))


class LoadMeter:
    """Others' share of the CPU from one question to the next."""

    def __init__(self) -> None:
        self._start, self._started = read_cpu_time(), time.monotonic()

    def lap(self, at_least_s: float = 0.0) -> float | None:
        """Others' share since the last lap. Waits where that was less than `at_least_s` ago."""
        time.sleep(max(0.0, self._started + at_least_s - time.monotonic()))
        end = read_cpu_time()
        share = share_of_others(self._start, end)
        self._start, self._started = end, time.monotonic()
        return share
