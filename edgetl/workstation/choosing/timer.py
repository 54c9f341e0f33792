"""Measures the latencies that decide a choice, where they were interpolated."""

from collections.abc import Callable, Sequence

from edgetl.workstation.choosing.costs import CostMeter, with_limits
from edgetl.workstation.choosing.decide import by_latency, next_to_train, shortlist
from edgetl.workstation.choosing.results import Limits, Result

# An interpolated latency is rarely wrong by more than this factor.
_NEAR = 1.25


class Timer:
    """Measures the latencies that decide: those near a limit, and of candidates to train."""

    def __init__(self, meter: CostMeter, limits: Limits) -> None:
        self._meter, self._limits = meter, limits

    def near_limits(self, results: Sequence[Result]) -> list[Result]:
        """The results with the limits that they exceed; those near the latency's are measured."""
        limit = self._limits.max_latency_ms
        near = [
            result
            for result in _interpolated(results)
            if limit and 1 / _NEAR < result.cost.p90_ms / limit < _NEAR
        ]
        return merged(with_limits(results, self._limits), self._measured(near))

    def shortlist(self, results: Sequence[Result]) -> tuple[list[Result], list[Result]]:
        """The results, and the fitting ones to train briefly, which are measured."""
        while True:
            listed = shortlist(fitting(results), self._limits)
            rough = _interpolated(listed)
            if not rough:
                return list(results), listed
            results = merged(results, self._measured(rough))

    def next_to_train(
        self, results: Sequence[Result], affordable: Callable[[Result], bool]
    ) -> tuple[list[Result], Result | None]:
        """The results, and the one to train wholly next, which is measured; None: none is."""
        while True:
            following = next_to_train(fitting(results), self._limits, affordable)
            if following is None or following.cost.source != "interpolated":
                return list(results), following
            results = merged(results, self._measured([following]))

    def _measured(self, results: Sequence[Result]) -> list[Result]:
        return with_limits(self._meter.time(results), self._limits) if results else []


def _interpolated(results: Sequence[Result]) -> list[Result]:
    return [result for result in results if result.cost.source == "interpolated"]


def fitting(results: Sequence[Result]) -> list[Result]:
    """The results that keep to the limits of latency and size."""
    return [result for result in results if not result.over]


def merged(results: Sequence[Result], newer: Sequence[Result]) -> list[Result]:
    """The results, with those that were examined further replaced; fastest first."""
    by_name = {result.name: result for result in (*results, *newer)}
    return by_latency(list(by_name.values()))
