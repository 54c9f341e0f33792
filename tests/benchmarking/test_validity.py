import numpy as np
import pytest

from edgetl.benchmarking.latency import summarise
from edgetl.benchmarking.validity import judge
from tests.benchmarking.rows import conditions, row, surroundings


def reason(**other: object) -> str:
    """The only reason against one row that differs from a valid one in what is named."""
    verdict = judge([row(), row(**other)], "valid")
    assert not verdict.valid
    (text,) = verdict.reasons
    assert verdict.text == f"invalid because {text}"
    return text


def test_a_long_run_on_a_calm_machine_is_valid() -> None:
    verdict = judge([row(), row()], "valid")
    assert (verdict.valid, verdict.reasons, verdict.unknown) == (True, (), ())
    assert verdict.text == "valid"


def test_too_few_queries_or_seconds_are_invalid() -> None:
    assert reason(p50_ms=100.0, calls=1023) == "onnx-int8 was timed for 1023 queries, not 1,024"
    assert reason(p50_ms=10.0, calls=5000) == "onnx-int8 was timed for 50.0 s, not 60 s"


def test_whole_answers_have_to_keep_the_rules_too() -> None:
    short = summarise(np.full(2000, 20.0))
    assert reason(end_to_end=short) == "onnx-int8 was timed for 40.0 s, not 60 s"


@pytest.mark.parametrize("when", ["others_before", "others_during"])
def test_a_machine_loaded_by_others_is_invalid(when: str) -> None:
    assert judge([row(surroundings=surroundings(**{when: 0.05}))], "valid").valid
    assert reason(surroundings=surroundings(**{when: 0.37})) == (
        "other processes took up to 37% of the machine's CPU time"
    )


def test_a_governor_that_holds_the_processor_low_is_invalid() -> None:
    low = conditions(governor="powersave", holds_low=True)
    assert reason(surroundings=surroundings(low, low)) == (
        "the governor 'powersave' keeps the processor at its lowest frequency"
    )


def test_a_processor_throttled_before_after_or_meanwhile_is_invalid() -> None:
    now = conditions(throttled=("under-voltage",))
    expected = "the processor was throttled (under-voltage)"
    assert reason(surroundings=surroundings(after=now)) == expected
    assert reason(surroundings=surroundings(before=now)) == expected
    meanwhile = conditions(throttled_before=("under-voltage",))
    assert reason(surroundings=surroundings(after=meanwhile)) == expected
    events = surroundings(conditions(throttle_events=4), conditions(throttle_events=7))
    assert reason(surroundings=events) == (
        "the processor was throttled (3 events during onnx-int8)"
    )


def test_what_throttled_the_processor_before_the_run_does_not_count() -> None:
    long_ago = conditions(throttled_before=("throttled",), throttle_events=12)
    assert judge([row(surroundings=surroundings(long_ago, long_ago))], "valid").valid


def test_heat_is_invalid() -> None:
    hot = conditions(temperature_c=86.4, hot_zones=("cpu-thermal",))
    assert reason(surroundings=surroundings(after=hot)) == (
        "the machine was hot enough to slow down (cpu-thermal; up to 86 C)"
    )


def test_a_frequency_that_falls_is_invalid_and_one_that_rises_is_not() -> None:
    slow = conditions(frequency_mhz=1600.0)
    assert judge([row(surroundings=surroundings(before=slow))], "valid").valid
    assert reason(surroundings=surroundings(after=slow)) == (
        "the frequency fell from 1800 to 1600 MHz during onnx-int8"
    )


def test_several_reasons_are_all_named() -> None:
    verdict = judge([row(calls=10, surroundings=surroundings(others_during=0.5))], "valid")
    assert len(verdict.reasons) == 3
    assert verdict.text == f"invalid because {'; '.join(verdict.reasons)}"


def test_what_nobody_could_check_is_said() -> None:
    silent = conditions(
        governor=None, frequency_mhz=None, temperature_c=None, throttled=None, throttle_events=None
    )
    around = surroundings(silent, silent, None, None)
    verdict = judge([row(surroundings=around)], "valid")
    assert verdict.valid
    assert verdict.text == (
        "valid (not known on this machine: governor, frequency, temperature, throttling and "
        "CPU load)"
    )


@pytest.mark.parametrize("mode", ["quick", "throughput"])
def test_a_quick_look_is_never_valid_and_says_so_kindly(mode) -> None:
    verdict = judge([row()], mode)
    assert not verdict.valid
    assert verdict.reasons == ()
    assert verdict.text == (
        "quick look: --mode valid times 1,024 queries and 60 s of each artifact"
    )
    loaded = judge([row(surroundings=surroundings(others_during=0.5))], mode)
    assert loaded.text.endswith(
        "artifact. Note that other processes took up to 50% of the machine's CPU time"
    )


def test_a_run_cut_short_is_invalid_also_before_its_first_artifact() -> None:
    assert judge([row()], "valid", cut_short=True).text == "invalid because it was cut short"
    assert judge([], "valid", cut_short=True).text == (
        "invalid because it was cut short; nothing was measured"
    )
