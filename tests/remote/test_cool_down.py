from edgetl.benchmarking.reports import Conditions
from edgetl.remote.cool_down import Moment, reasons_to_wait, wait_until_calm
from tests.benchmarking.rows import conditions


def moment(others: float | None = 0.0, **other: object) -> Moment:
    made: Conditions = conditions(**other)
    return Moment(others, made)


def test_an_idle_and_cool_machine_is_measured_at_once() -> None:
    assert reasons_to_wait(moment(), None) == []
    assert reasons_to_wait(moment(None, temperature_c=None), None) == []


def test_a_busy_machine_waits() -> None:
    assert reasons_to_wait(moment(0.4), None) == ["other processes take 40% of its CPU time"]


def test_a_warm_machine_waits_while_it_gets_cooler() -> None:
    warm, cooler = moment(temperature_c=71.0), moment(temperature_c=69.0)
    assert reasons_to_wait(warm, None) == ["it has 71 C"]
    assert reasons_to_wait(cooler, warm) == ["it has 69 C"]
    assert reasons_to_wait(cooler, cooler) == []  # as cool as it gets
    hot = moment(temperature_c=86.0, hot_zones=("cpu",))
    assert reasons_to_wait(hot, hot) == ["it has 86 C"]


def waited(moments: list[Moment], limit_s: float) -> tuple[str, int]:
    """What a wait ends with, and how many moments it saw; each takes a second."""
    seen: list[Moment] = []

    def look() -> Moment:
        seen.append(moments[len(seen)])
        return seen[-1]

    return wait_until_calm(limit_s, look, clock=lambda: float(len(seen))), len(seen)


def test_waiting_ends_when_the_machine_is_calm(capsys) -> None:
    assert waited([moment(0.9), moment(0.9), moment(0.0)], 60.0) == ("", 3)
    assert capsys.readouterr().err == (
        "waiting, because other processes take 90% of its CPU time\n"
    )


def test_waiting_has_a_limit(capsys) -> None:
    busy = [moment(0.9)] * 9
    assert waited(busy, 3.0) == ("other processes take 90% of its CPU time", 3)
