"""Which candidates go on to the next stage, and which one is picked: functions of results alone.

The stages are those of successive halving (Jamieson and Talwalkar 2016, "Non-stochastic Best Arm
Identification and Hyperparameter Optimization"): all candidates are compared cheaply, and what is
left more thoroughly. A candidate counts by both its accuracy and its latency: one that another
beats in both is dropped first.
"""

from collections.abc import Callable, Sequence
from statistics import fmean

from edgetl.workstation.choosing.results import Limits, Result

# Without any limit, the fastest candidate is picked that loses at most this many points of top-1
# against the most accurate one.
TOLERANCE_PP = 1.0
SHORTLIST = 4
WHOLE_RUNS = 2
_FEWEST_KEPT = 6


def keep_half(results: Sequence[Result]) -> list[Result]:
    """The better half of the probed candidates, at least 6, fastest first.

    Ranked by how many others are at least as fast and more accurate, then by accuracy.
    """

    def rank(result: Result) -> tuple[int, float]:
        better = sum(_beats(other, result) for other in results)
        return better, -_probed(result)

    count = max(_FEWEST_KEPT, -(-len(results) // 2))
    return by_latency(sorted(results, key=rank)[:count])


def by_latency(results: Sequence[Result]) -> list[Result]:
    """Fastest first."""
    return sorted(results, key=lambda result: result.cost.p50_ms)


def pareto_front(results: Sequence[Result]) -> list[Result]:
    """The candidates that no other beats, fastest first.

    One beats another if it is at least as fast and its estimated top-1 is higher.
    """
    estimates = {result.name: estimated_top1(result, results) for result in results}
    front: list[Result] = []
    for result in by_latency(results):
        if not front or estimates[result.name] > estimates[front[-1].name]:
            front.append(result)
    return front


def shortlist(results: Sequence[Result], limits: Limits) -> list[Result]:
    """Up to 4 candidates to train briefly, fastest first.

    With a least top-1 to reach: spread over the Pareto front, because how much training adds to a
    probe is not known before. Otherwise: the most accurate of the front.
    """
    front = pareto_front(results)
    if len(front) <= SHORTLIST:
        others = sorted((r for r in results if r not in front), key=_probed, reverse=True)
        return by_latency([*front, *others[: SHORTLIST - len(front)]])
    if limits.min_top1_pct is None:
        return front[-SHORTLIST:]
    step = (len(front) - 1) / (SHORTLIST - 1)
    return [front[round(number * step)] for number in range(SHORTLIST)]


def next_to_train(
    results: Sequence[Result],
    limits: Limits,
    affordable: Callable[[Result], bool] = lambda _: True,
) -> Result | None:
    """The candidate to train wholly next; None if enough were, or none is promising.

    Args:
        results: the candidates that fit, some of them trained briefly or wholly.
        limits: what the model must keep to.
        affordable: whether there is time to train a candidate. If there is for none, and none was
            trained, the fastest is trained all the same.
    """
    trained = [result for result in results if result.whole]
    rest = [result for result in results if not result.whole]
    if len(trained) >= WHOLE_RUNS or not rest:
        return None
    in_time = [result for result in rest if affordable(result)]
    if not in_time:
        return None if trained else by_latency(rest)[0]
    rest = in_time
    if limits.min_top1_pct is None:
        return _next_most_accurate(trained, rest, results, limits)
    least = limits.min_top1_pct / 100
    reached = [result for result in trained if _whole(result) >= least]
    promising = [r for r in pareto_front(rest) if estimated_top1(r, results) >= least]
    if reached:
        fastest = by_latency(reached)[0]
        quicker = [r for r in promising if r.cost.p50_ms < fastest.cost.p50_ms]
        return quicker[-1] if quicker else None
    if promising:
        return promising[0]
    return max(rest, key=lambda result: estimated_top1(result, results))


def pick(results: Sequence[Result], limits: Limits) -> Result | None:
    """The candidate to use among those trained wholly; None if none keeps to the limits.

    With a least top-1, the fastest that reaches it. With other limits, the most accurate. Without
    any, the fastest that loses at most a point against the most accurate.
    """
    trained = [result for result in results if result.whole and not result.over]
    if not trained:
        return None
    if limits.min_top1_pct is not None:
        least = limits.min_top1_pct / 100
    else:
        least = max(map(_whole, trained)) - _tolerance(limits)
    return next((r for r in by_latency(trained) if _whole(r) >= least - 1e-9), None)


def nearest(results: Sequence[Result]) -> Result:
    """The candidate to name if none keeps to the limits: the most accurate that fits, by estimate.

    If none fits, the smallest and fastest one.
    """
    fitting = [result for result in results if not result.over]
    if fitting:
        return max(fitting, key=lambda r: (r.whole is not None, estimated_top1(r, results)))
    return min(results, key=lambda result: (len(result.over), result.cost.p50_ms))


def estimated_top1(result: Result, results: Sequence[Result]) -> float:
    """The top-1 to expect after the whole recipe, 0 to 1: the best figure there is.

    A brief or probed figure is raised by what training added to the others' on average.
    """
    if result.whole:
        return result.whole.top1
    if result.brief:
        pairs = [(r.whole.top1, r.brief.top1) for r in results if r.whole and r.brief]
        return result.brief.top1 + _mean_gain(pairs)
    briefs = [(r.brief.top1, r.probe.top1) for r in results if r.brief and r.probe]
    wholes = [(r.whole.top1, r.brief.top1) for r in results if r.whole and r.brief]
    return _probed(result) + _mean_gain(briefs) + _mean_gain(wholes)


def _next_most_accurate(
    trained: Sequence[Result], rest: Sequence[Result], results: Sequence[Result], limits: Limits
) -> Result | None:
    """The most promising candidate.

    Without limits, after that the next that promises more than a tolerance above it (there may have
    been no time for it before), or else the fastest that may be as good.
    """

    def estimate(result: Result) -> float:
        return estimated_top1(result, results)

    best = max(rest, key=estimate)
    if trained and limits.none:
        reached = max(map(_whole, trained))
        if estimate(best) > reached + _tolerance(limits):
            return best
        least = reached - _tolerance(limits)
        fastest = by_latency(trained)[0]
        quicker = [r for r in by_latency(rest) if r.cost.p50_ms < fastest.cost.p50_ms]
        return next((result for result in quicker if estimate(result) >= least), None)
    return best


def _tolerance(limits: Limits) -> float:
    return TOLERANCE_PP / 100 if limits.none else 0.0


def _mean_gain(pairs: Sequence[tuple[float, float]]) -> float:
    return fmean(after - before for after, before in pairs) if pairs else 0.0


def _beats(one: Result, other: Result) -> bool:
    return one.cost.p50_ms <= other.cost.p50_ms and _probed(one) > _probed(other)


def _probed(result: Result) -> float:
    return result.probe.top1 if result.probe else 0.0


def _whole(result: Result) -> float:
    return result.whole.top1 if result.whole else 0.0
