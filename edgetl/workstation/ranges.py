"""The ranges that a recipe file declares for `edgetl search`: data, never code."""

from typing import Annotated

import msgspec

from edgetl.core.schema import Frozen

Scalar = bool | int | float | str | None
# So many steps are as good as none, and more than a sampler should list.
_MOST_STEPS = 10_000


class Between(Frozen, kw_only=True, frozen=True):
    """A range of numbers, both ends included.

    Attributes:
        low, high: its ends.
        step: the distance between two values, counted from `low`; null: any number, or any
            integer where the recipe's key holds integers.
        log: draw the logarithm evenly, for values that matter by ratio, such as learning rates.
    """

    low: int | float
    high: int | float
    step: int | float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low has to be below high, and {self.low} is not below {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"with log, low has to be above 0, and it is {self.low}")
        if self.step is None:
            return
        if self.log:
            raise ValueError("log and step exclude each other")
        if self.step <= 0 or not _is_whole((self.high - self.low) / self.step):
            raise ValueError(f"steps of {self.step} do not lead from {self.low} to {self.high}")

    def holds(self, value: object) -> bool:
        """Whether a value is a number of this range and, with a step, one of its steps."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        on_a_step = self.step is None or _is_whole((value - self.low) / self.step)
        return self.low <= value <= self.high and on_a_step


def _is_whole(steps: float) -> bool:
    return steps <= _MOST_STEPS and abs(steps - round(steps)) < 1e-6


Choices = Annotated[tuple[Scalar, ...], msgspec.Meta(min_length=2, max_length=100)]
Range = Between | Choices
Ranges = dict[str, Range]
