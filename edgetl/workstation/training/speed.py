"""How fast training goes, and how long it will take."""

import time
from collections.abc import Sequence

from edgetl.workstation.training.compute import Compute

# The first steps are not timed: they choose kernels and create the optimiser's state, and on a GPU
# steps are captured after a few.
_WARM_UPS = {"cpu": 2, "cuda": 16}
_TIMED = {"cpu": 3, "cuda": 32}


class Clock:
    """Times the steps of a session, and estimates its length from the first ones.

    Attributes:
        announcement: the training about to start, in words.
    """

    def __init__(self, compute: Compute, sides_px: Sequence[int], pictures: int) -> None:
        """`sides_px`: side of the pictures in each epoch; `pictures`: their number per epoch."""
        self._compute = compute
        kind = compute.device.type
        self._begins = _WARM_UPS.get(kind, 2)
        self._ends = self._begins + _TIMED.get(kind, 3)
        # A step's time is proportional to its number of pixels.
        self._epochs_of_first = sum((side / sides_px[0]) ** 2 for side in sides_px)
        self._pictures = pictures
        self._steps = self._timed_pictures = self._all_pictures = 0
        self._since = self._begun = self._last = time.perf_counter()
        sides = (
            f"{sides_px[0]} px"
            if len(set(sides_px)) == 1
            else (f"{min(sides_px)} to {max(sides_px)} px")
        )
        self.announcement = (
            f"training on {compute.described}: {len(sides_px)} epochs of {pictures:,} pictures at "
            f"{sides}"
        )

    @property
    def rate(self) -> float:
        """Pictures per second from the first step to the last, scoring between epochs included."""
        return self._all_pictures / max(1e-9, self._last - self._begun)

    def after_step(self, pictures: int) -> str | None:
        """Count a step; returns an estimate of the training time in words once, else None."""
        self._steps += 1
        self._all_pictures += pictures
        self._last = time.perf_counter()
        if self._steps == self._begins:
            self._compute.wait()
            self._since = time.perf_counter()
        elif self._begins < self._steps <= self._ends:
            self._timed_pictures += pictures
            if self._steps == self._ends:
                self._compute.wait()
                return self._estimate(time.perf_counter() - self._since)
        return None

    def _estimate(self, seconds: float) -> str:
        rate = self._timed_pictures / max(1e-9, seconds)
        left = self._epochs_of_first * self._pictures / rate
        return f"{rate:.0f} pictures/s: training takes about {format_duration(left)}"


def format_duration(seconds: float) -> str:
    """A duration, rounded for display, e.g. "40 s", "12 min" or "1.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
