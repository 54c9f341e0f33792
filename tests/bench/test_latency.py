import msgspec
import numpy as np
import pytest

from edgetl.bench.host import host_facts, peak_memory_bytes
from edgetl.bench.latency import MIN_CALLS, WARM_UP_CALLS, summarise, time_calls


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
