"""Candidates for the int8 network from cheap to costly, each made only when requested."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from edgetl.bundle.reports import LayerSensitivity
from edgetl.core.progress import Progress
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.int8.constraints import NO_CONSTRAINTS, QuantizationConstraints
from edgetl.workstation.export.int8.distillation import distil
from edgetl.workstation.export.int8.plan import QuantizationPlan, plan_by_ranges
from edgetl.workstation.export.int8.sensitivity import measure_sensitivities

# How many of the most sensitive activations stay float, fewest first.
_FLOAT_ACTIVATIONS = (1, 2, 4, 8, 16)


class QuantizationCandidate(NamedTuple):
    """A named plan of the int8 network; `mixed`: some of its activations stay float."""

    name: str
    plan: QuantizationPlan
    mixed: bool


class QuantizationLadder:
    """Iterates over the candidates for one network; each is made once, for all formats.

    1. "ranges": channels equalized, weights rounded by layer, ranges of least squared error.
    2. "tuned": the rounded network after a short fine-tune, distilled from the float one.
    3. "float-1", -2, -4 ...: the same, with the most sensitive activations left in float.

    The fine-tune comes before layers stay float: it costs minutes once, while a float layer costs
    time on every picture.

    Args:
        graph: the float network.
        calibration: pictures to choose ranges with, uint8 [H, W, 3] each.
        tuning: returns training pictures, uint8 [H, W, 3] each; called only if they are needed.
        progress: where to show how far it is.
        constraints: what the device's int8 kernels require.
    """

    def __init__(
        self,
        graph: DeployGraph,
        calibration: Sequence[Pixels],
        tuning: Callable[[], Sequence[Pixels]],
        progress: Progress,
        constraints: QuantizationConstraints = NO_CONSTRAINTS,
    ) -> None:
        self._graph = graph
        self._calibration = calibration
        self._tuning = tuning
        self._progress = progress
        self._constraints = constraints
        self._still_to_make = self._make_all()
        self._made: list[QuantizationCandidate] = []
        self._sensitivities: list[LayerSensitivity] | None = None

    def __iter__(self) -> Iterator[QuantizationCandidate]:
        """Yield the candidates from the cheapest; those made for another format are reused."""
        index = 0
        while index < len(self._made) or self._make_next():
            yield self._made[index]
            index += 1

    def sensitivities(self) -> list[LayerSensitivity]:
        """Measure what int8 costs each layer of the cheapest candidate; worst first."""
        if self._sensitivities is None:
            plan = next(iter(self)).plan
            self._sensitivities = measure_sensitivities(plan, self._calibration, self._progress)
        return self._sensitivities

    def _make_next(self) -> bool:
        candidate = next(self._still_to_make, None)
        if candidate is not None:
            self._made.append(candidate)
        return candidate is not None

    def _make_all(self) -> Iterator[QuantizationCandidate]:
        with self._progress.stage("choosing int8 ranges", 1, "networks") as stage:
            plan = plan_by_ranges(self._graph, self._calibration, self._constraints)
            stage.advance(1)
        yield QuantizationCandidate("ranges", plan, mixed=False)
        tuned = distil(plan, self._graph, self._tuning(), self._progress)
        yield QuantizationCandidate("tuned", tuned, mixed=False)
        groups = [sensitivity.activation for sensitivity in self.sensitivities()]
        for count in _FLOAT_ACTIVATIONS:
            if count < len(groups):
                mixed = tuned.without(groups[:count])
                yield QuantizationCandidate(f"float-{count}", mixed, mixed=True)
