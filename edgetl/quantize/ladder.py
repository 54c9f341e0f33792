"""Ever costlier ways to the int8 network, each decided only when the one before did not do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from edgetl.core.progress import Progress
from edgetl.core.reports import Blame
from edgetl.quantize.graph import Graph, Pixels
from edgetl.quantize.needs import NO_NEEDS, Needs
from edgetl.quantize.plan import Plan, plan_by_ranges
from edgetl.quantize.sensitivity import blame_layers
from edgetl.quantize.tune import tune

# How many of the most sensitive activations stay float, fewest first.
_FLOAT_POINTS = (1, 2, 4, 8, 16)


class Rung(NamedTuple):
    """A way to the int8 network. `mixed` where some of it stays float."""

    name: str
    plan: Plan
    mixed: bool


class Ladder:
    """The rungs of one network, for all formats, each decided once.

    1. "ranges": channels evened out, weights rounded by layer, ranges of least squared error.
    2. "tuned": a short fine-tune of the rounded network, taught by the float one.
    3. "float-1", -2, -4 ...: that, with the most sensitive activations left unrounded.

    The fine-tune comes before layers are kept float: it costs minutes once, and a float layer costs
    time with every picture.

    Args:
        graph: the float network.
        calibration: pictures to choose ranges by, uint8 [H, W, 3].
        tuning: gives training pictures, likewise; asked only where they are needed.
        progress: told of what takes long.
        needs: what the device asks of int8.
    """

    def __init__(
        self,
        graph: Graph,
        calibration: Sequence[Pixels],
        tuning: Callable[[], Sequence[Pixels]],
        progress: Progress,
        needs: Needs = NO_NEEDS,
    ) -> None:
        self._graph = graph
        self._calibration = calibration
        self._tuning = tuning
        self._progress = progress
        self._needs = needs
        self._steps = self._decide()
        self._rungs: list[Rung] = []
        self._blame: list[Blame] | None = None

    def __iter__(self) -> Iterator[Rung]:
        """From the cheapest; what was decided for one format is there for the next."""
        index = 0
        while index < len(self._rungs) or self._climb():
            yield self._rungs[index]
            index += 1

    def blame(self) -> list[Blame]:
        """What int8 costs each layer on the cheapest rung, worst first."""
        if self._blame is None:
            plan = next(iter(self)).plan
            self._blame = blame_layers(plan, self._calibration, self._progress)
        return self._blame

    def _climb(self) -> bool:
        rung = next(self._steps, None)
        if rung is not None:
            self._rungs.append(rung)
        return rung is not None

    def _decide(self) -> Iterator[Rung]:
        with self._progress.stage("choosing int8 ranges", 1, "networks") as shown:
            plan = plan_by_ranges(self._graph, self._calibration, self._needs)
            shown.advance(1)
        yield Rung("ranges", plan, mixed=False)
        tuned = tune(plan, self._graph, self._tuning(), self._progress)
        yield Rung("tuned", tuned, mixed=False)
        groups = [blame.activation for blame in self.blame()]
        for count in _FLOAT_POINTS:
            if count < len(groups):
                yield Rung(f"float-{count}", tuned.without(groups[:count]), mixed=True)
