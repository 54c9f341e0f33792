import threading

import pytest

from edgetl.benchmarking.latency import WARM_UP_CALLS
from edgetl.benchmarking.throughput import run_side_by_side
from edgetl.core.errors import EngineError


def test_engines_answer_at_the_same_time_and_all_pictures_are_counted() -> None:
    together = threading.Barrier(3)
    made = [0, 0, 0]

    def call(i: int) -> None:
        made[i] += 1
        if made[i] == WARM_UP_CALLS + 1:
            together.wait(timeout=30)  # passes only where all three are at it

    seconds = iter([5.0, 9.0])
    found = run_side_by_side(
        [lambda i=i: call(i) for i in range(3)], seconds=0.05, clock=lambda: next(seconds)
    )
    assert found.engines == 3
    assert found.pictures == sum(made) - 3 * WARM_UP_CALLS >= 3
    assert found.seconds == 4.0
    assert found.pictures_per_s == found.pictures / 4


def test_an_engine_that_fails_ends_it() -> None:
    made = []

    def fail() -> None:
        made.append(1)
        if len(made) > WARM_UP_CALLS:
            raise EngineError("Engine 'made' failed.")

    with pytest.raises(EngineError, match="Engine 'made' failed"):
        run_side_by_side([fail, lambda: None], seconds=600)
