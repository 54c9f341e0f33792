"""Which interpolated latencies are measured, and when."""

from collections.abc import Sequence

import msgspec
import pytest

pytest.importorskip("torch")

from edgetl.workstation.choosing.costs import interpolated
from edgetl.workstation.choosing.results import Limits, Result
from edgetl.workstation.choosing.timer import Timer
from tests.workstation.choosing.test_decide import result


class Meter:
    """Every candidate takes 8 ms, and counts how often it was timed."""

    def __init__(self) -> None:
        self.timed: list[str] = []

    def time(self, results: Sequence[Result]) -> list[Result]:
        self.timed += [r.name for r in results]
        return [
            msgspec.structs.replace(
                r,
                cost=msgspec.structs.replace(r.cost, p50_ms=8.0, p90_ms=8.0, source="measured"),
            )
            for r in results
        ]


def rough(size_px: int, ms: float, probe: float) -> Result:
    """A candidate whose latency is interpolated."""
    made = result(size_px, ms, probe)
    cost = msgspec.structs.replace(made.cost, source="interpolated")
    return msgspec.structs.replace(made, cost=cost)


def test_between_two_sizes_the_inference_is_a_power_of_the_size_and_reading_comes_on_top() -> None:
    small, large = result(100, 2.0, 0.5), result(400, 32.0, 0.5)
    read = [
        msgspec.structs.replace(
            r, cost=msgspec.structs.replace(r.cost, p50_ms=r.cost.p50_ms + 20, p90_ms=ms)
        )
        for r, ms in ((small, 23.0), (large, 55.0))
    ]
    between = interpolated(result(200, 1.0, 0.5).candidate, *read)
    assert round(between.cost.inference_ms, 6) == 8.0
    assert round(between.cost.p50_ms, 6) == 28.0
    assert round(between.cost.p90_ms, 6) == 30.0
    assert between.cost.source == "interpolated"


def test_what_is_near_the_limit_is_measured_before_it_is_left_out() -> None:
    meter = Meter()
    results = [rough(96, 5.0, 0.5), rough(128, 9.0, 0.5), rough(160, 11.0, 0.5)]
    results.append(rough(288, 20.0, 0.5))
    limited = Timer(meter, Limits(max_latency_ms=10.0)).near_limits(results)  # type: ignore[arg-type]
    assert meter.timed == ["b@128", "b@160"]
    assert [r.name for r in limited if r.over] == ["b@288"]


def test_what_is_trained_was_measured() -> None:
    meter = Meter()
    results = [result(96, 3.0, 0.7), rough(128, 5.0, 0.8), rough(160, 9.0, 0.9)]
    timer = Timer(meter, Limits())  # type: ignore[arg-type]
    results, listed = timer.shortlist(results)
    assert meter.timed == ["b@128", "b@160"]
    assert {r.cost.source for r in listed} == {"measured"}

    results.append(rough(192, 12.0, 0.99))
    results, following = timer.next_to_train(results, lambda _: True)
    assert following and following.name == "b@192" == meter.timed[-1]
    assert following in results and following.cost.source == "measured"
