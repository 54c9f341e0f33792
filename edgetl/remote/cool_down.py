"""Wait until a machine is idle and cool, as far as it can be read.

Started on the machine that is going to be measured, as `python -m edgetl.remote.cool_down SECONDS`.
"""

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from edgetl.benchmarking.conditions import read_conditions
from edgetl.benchmarking.load import LoadMeter
from edgetl.benchmarking.reports import Conditions
from edgetl.benchmarking.validity import MAX_OTHERS

# A processor at this temperature is far from where kernels begin to slow it down (80 C and more).
COOL_C = 60.0
# One that is warmer is as cool as it gets if it falls by less than this in a lap.
_FALLING_C = 0.5
_LAP_S = 1.5


class Moment(NamedTuple):
    """A machine's state: others' share of its CPU time (0 to 1; None: unknown), and conditions."""

    others: float | None
    conditions: Conditions


def reasons_to_wait(now: Moment, before: Moment | None) -> list[str]:
    """Why a measurement should not begin yet; empty if it may.

    Args:
        now: the machine's state.
        before: its state a lap earlier; None if there was none.
    """
    reasons = []
    if now.others is not None and now.others > MAX_OTHERS:
        reasons.append(f"other processes take {now.others:.0%} of its CPU time")
    warm = now.conditions.temperature_c
    if warm is not None and warm > COOL_C:
        earlier = before.conditions.temperature_c if before else None
        falls = earlier is None or earlier - warm >= _FALLING_C
        if falls or now.conditions.hot_zones:
            reasons.append(f"it has {warm:.0f} C")
    return reasons


def wait_until_calm(
    limit_s: float, look: Callable[[], Moment], clock: Callable[[], float] = time.monotonic
) -> str:
    """Wait until nothing speaks against measuring, or `limit_s` seconds.

    Args:
        limit_s: how long to wait at most.
        look: takes some time, and returns the machine's state.
        clock: returns seconds, from any starting point.

    Returns why it was not worth waiting longer, or "" if the machine is calm.
    """
    deadline = clock() + limit_s
    before = None
    while True:
        now = look()
        reasons = reasons_to_wait(now, before)
        if not reasons:
            return ""
        if clock() >= deadline:
            return " and ".join(reasons)
        if before is None:
            print(f"waiting, because {' and '.join(reasons)}", file=sys.stderr, flush=True)
        before = now


def main() -> None:
    """Wait at most as long as the argument says; say on standard error if that was not enough."""
    limit_s = float(sys.argv[1])
    meter = LoadMeter()

    def look() -> Moment:
        return Moment(meter.lap(_LAP_S), read_conditions())

    if reasons := wait_until_calm(limit_s, look):
        print(f"measuring after {limit_s:.0f} s all the same: {reasons}", file=sys.stderr)


if __name__ == "__main__":
    main()
