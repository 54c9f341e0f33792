import msgspec
import numpy as np
import pytest

from edgetl.benchmarking.host import host_facts, peak_memory_bytes
from edgetl.benchmarking.latency import (
    MIN_CALLS,
    VALID,
    WARM_UP_CALLS,
    Rules,
    summarise,
    time_calls,
)


def test_percentiles_agree_with_those_worked_out_by_hand() -> None:
    summary = summarise([float(n) for n in range(101)])  # 0 to 100 ms: the p-th is p
    assert (summary.calls, summary.mean_ms) == (101, 50)
    assert (summary.p50_ms, summary.p90_ms, summary.p99_ms) == pytest.approx((50, 90, 99))


def test_percentiles_lie_between_two_durations_where_none_is_at_their_place() -> None:
    summary = summarise([1.0, 2.0])
    assert (summary.p50_ms, summary.p90_ms) == pytest.approx((1.5, 1.9))


def test_every_call_is_made_and_warm_up_is_not_timed() -> None:
    made = []
    assert time_calls(lambda: made.append(1), calls=7, warm_up=3).calls == 7
    assert len(made) == 10


def test_the_protocol_has_enough_calls_for_a_p99() -> None:
    made = []
    assert time_calls(lambda: made.append(1)).calls == MIN_CALLS == 200
    assert len(made) == MIN_CALLS + WARM_UP_CALLS


def test_both_the_calls_and_the_seconds_have_to_be_reached() -> None:
    now_s = 0.0

    def half_a_second() -> None:
        nonlocal now_s
        now_s += 0.5

    def timed(calls: int, seconds: float) -> tuple[int, float]:
        found = time_calls(half_a_second, calls=calls, seconds=seconds, clock=lambda: now_s)
        return found.calls, found.seconds

    assert timed(calls=3, seconds=10) == (20, 10)
    assert timed(calls=30, seconds=10) == (30, 15)
    assert timed(calls=3, seconds=0) == (3, 1.5)


def test_the_rules_are_mlperfs() -> None:
    assert Rules(1024, 60.0) == VALID


def test_a_quantile_lies_in_its_interval() -> None:
    found = summarise([float(n) for n in np.random.default_rng(0).permutation(2000) + 1])
    for quantile_ms, interval in (
        (found.p50_ms, found.p50_interval),
        (found.p90_ms, found.p90_interval),
        (found.p99_ms, found.p99_interval),
    ):
        assert interval.low_ms is not None and interval.high_ms is not None
        assert interval.low_ms < quantile_ms < interval.high_ms


def test_the_hosts_facts_are_plausible_and_can_be_written() -> None:
    facts = host_facts()
    assert facts.cores >= 1
    assert facts.memory_bytes > 2**26
    assert facts.cpu
    assert facts.machine
    assert msgspec.json.decode(msgspec.json.encode(facts))["cores"] == facts.cores


def test_peak_memory_counts_what_was_once_held() -> None:
    before = peak_memory_bytes()
    np.ones(2**26, np.uint8).sum()
    assert peak_memory_bytes() >= max(before, 2**26)
