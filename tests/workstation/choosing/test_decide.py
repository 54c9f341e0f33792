"""Which candidates go on, and which one is picked."""

import pytest

pytest.importorskip("torch")

from edgetl.bundle.reports import Interval
from edgetl.workstation.choosing import tuning
from edgetl.workstation.choosing.decide import (
    estimated_top1,
    keep_half,
    nearest,
    next_to_train,
    pareto_front,
    pick,
    shortlist,
)
from edgetl.workstation.choosing.results import Accuracy, Candidate, Cost, Limits, Result

NO_LIMITS = Limits()


def score(top1: float | None) -> Accuracy | None:
    if top1 is None:
        return None
    return Accuracy(top1=top1, images=100, interval=Interval(low=top1, high=top1))


def result(
    size_px: int,
    p50_ms: float,
    probe: float | None,
    brief: float | None = None,
    whole: float | None = None,
    *,
    over: tuple[str, ...] = (),
) -> Result:
    cost = Cost(
        artifact="onnx-int8", engine="e", threads=1, bytes=1,
        p50_ms=p50_ms, p90_ms=p50_ms, inference_ms=p50_ms,
    )  # fmt: skip
    return Result(
        candidate=Candidate(backbone="b", weights="none", image_size_px=size_px),
        cost=cost, over=over,
        probe=score(probe), brief=score(brief), whole=score(whole),
    )  # fmt: skip


def sizes(results: list[Result]) -> list[int]:
    return [r.candidate.image_size_px for r in results]


def test_the_front_holds_what_no_faster_candidate_beats() -> None:
    found = [result(3, 3.0, 0.8), result(1, 1.0, 0.7), result(2, 2.0, 0.6), result(4, 4.0, 0.8)]
    assert sizes(pareto_front(found)) == [1, 3]


def test_the_better_half_goes_on_but_at_least_six() -> None:
    # Candidate n takes n ms; the even ones are beaten by the odd ones before them.
    found = [result(n, n, 0.5 + n / 100 - (n % 2 == 0) * 0.3) for n in range(1, 17)]
    assert sizes(keep_half(found)) == [1, 3, 5, 7, 9, 11, 13, 15]
    assert sizes(keep_half(found[:8])) == [1, 2, 3, 4, 5, 7]


def test_the_most_accurate_of_the_front_are_trained_briefly() -> None:
    found = [result(n, n, 0.5 + n / 100) for n in range(1, 8)]
    assert sizes(shortlist(found, NO_LIMITS)) == [4, 5, 6, 7]
    assert sizes(shortlist(found, Limits(max_latency_ms=9))) == [4, 5, 6, 7]


def test_with_a_least_top1_the_shortlist_is_spread_over_the_front() -> None:
    found = [result(n, n, 0.5 + n / 100) for n in range(1, 8)]
    assert sizes(shortlist(found, Limits(min_top1_pct=90))) == [1, 3, 5, 7]


def test_a_short_front_is_filled_with_the_best_of_the_others() -> None:
    found = [result(1, 1, 0.9), result(2, 2, 0.8), result(3, 3, 0.85)]
    assert sizes(shortlist(found, NO_LIMITS)) == [1, 2, 3]


def test_an_estimate_adds_what_training_added_to_others() -> None:
    found = [result(1, 1, 0.70, 0.80, 0.84), result(2, 2, 0.75, 0.81), result(3, 3, 0.72)]
    assert estimated_top1(found[0], found) == 0.84
    assert estimated_top1(found[1], found) == pytest.approx(0.81 + 0.04)
    assert estimated_top1(found[2], found) == pytest.approx(0.72 + (0.10 + 0.06) / 2 + 0.04)


def test_without_limits_the_second_run_is_the_fastest_that_may_lose_less_than_a_point() -> None:
    found = [
        result(1, 1, 0.7, 0.80), result(2, 2, 0.7, 0.895), result(3, 3, 0.7, 0.896),
        result(4, 4, 0.7, 0.90),
    ]  # fmt: skip
    first = next_to_train(found, NO_LIMITS)
    assert first and first.candidate.image_size_px == 4
    found[3] = result(4, 4, 0.7, 0.90, 0.90)
    second = next_to_train(found, NO_LIMITS)
    assert second and second.candidate.image_size_px == 2
    found[1] = result(2, 2, 0.7, 0.895, 0.893)
    assert next_to_train(found, NO_LIMITS) is None
    picked = pick(found, NO_LIMITS)
    assert picked and picked.candidate.image_size_px == 2
    assert pick(found, Limits(max_latency_ms=9)) == found[3]  # with a limit: the most accurate


def test_the_second_run_is_of_what_there_was_no_time_for_if_it_promises_much_more() -> None:
    found = [result(1, 1, 0.7, 0.80), result(2, 2, 0.7, 0.86, 0.86), result(4, 4, 0.75)]
    following = next_to_train(found, NO_LIMITS)
    assert following and following.candidate.image_size_px == 4
    assert next_to_train(found, NO_LIMITS, lambda r: r.candidate.image_size_px < 4) is None


def test_no_second_run_is_made_if_every_faster_candidate_is_much_worse() -> None:
    found = [result(1, 1, 0.7, 0.80), result(4, 4, 0.7, 0.90, 0.90)]
    assert next_to_train(found, NO_LIMITS) is None


def test_with_a_least_top1_the_fastest_that_should_reach_it_is_trained() -> None:
    limits = Limits(min_top1_pct=85)
    found = [result(1, 1, 0.7, 0.80), result(2, 2, 0.7, 0.86), result(3, 3, 0.7, 0.88)]
    first = next_to_train(found, limits)
    assert first and first.candidate.image_size_px == 2
    reached = [found[0], result(2, 2, 0.7, 0.86, 0.87), found[2]]
    assert next_to_train(reached, limits) is None  # nothing faster should reach it
    picked = pick(reached, limits)
    assert picked and picked.candidate.image_size_px == 2
    missed = [found[0], result(2, 2, 0.7, 0.86, 0.84), found[2]]
    second = next_to_train(missed, limits)
    assert second and second.candidate.image_size_px == 3
    assert pick(missed, limits) is None
    assert nearest(missed).candidate.image_size_px == 2


def test_a_candidate_over_a_limit_is_never_picked_and_the_nearest_misses_least() -> None:
    slow = result(3, 3, None, over=("1.00 ms over 2 ms",))
    slower = result(4, 4, None, over=("2.00 ms over 2 ms",))
    both = result(2, 2.5, None, over=("0.50 ms over 2 ms", "1 MB over 1 MB"))
    assert pick([slow, slower, both], Limits(max_latency_ms=2)) is None
    assert nearest([slower, both, slow]) == slow


def test_candidates_that_there_is_no_time_for_are_not_trained() -> None:
    found = [result(1, 1, 0.7, 0.80), result(2, 2, 0.7, 0.85), result(4, 4, 0.7, 0.90)]
    following = next_to_train(found, NO_LIMITS, lambda r: r.candidate.image_size_px < 4)
    assert following and following.candidate.image_size_px == 2
    in_vain = next_to_train(found, NO_LIMITS, lambda _: False)
    assert in_vain and in_vain.candidate.image_size_px == 1  # one is trained all the same
    found[0] = result(1, 1, 0.7, 0.80, 0.81)
    assert next_to_train(found, NO_LIMITS, lambda _: False) is None


def test_the_time_of_training_follows_from_that_of_earlier_candidates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(tuning.time, "monotonic", lambda: now[0])
    patience = tuning.Patience(10)
    fast, slow = result(1, 1.0, 0.7), result(3, 3.0, 0.7)
    assert patience.affords(slow, 1000)  # nothing is known yet
    patience.took(fast, 5, 100.0)  # 20 s for an epoch
    assert patience.affords(slow, 10) and not patience.affords(slow, 11)
    assert patience.affords(fast, 15, share=0.5) and not patience.affords(fast, 16, share=0.5)
    now[0] += 540
    assert not patience.affords(slow, 2)
    assert patience.affords(fast, 3)
    assert tuning.Patience(None).affords(slow, 10_000)
