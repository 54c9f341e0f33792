"""Draws a plan: accuracy against latency, measured and estimated figures told apart."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from edgetl.core.files import atomic_write
from edgetl.workstation.choosing.decide import estimated_top1, pareto_front
from edgetl.workstation.choosing.results import Accuracy, Plan, Result

_Kind = tuple[str, Callable[[Result], Accuracy | None], str, bool]
# What the points' figures are from, the best first; filled: measured on the test part.
_KINDS: tuple[_Kind, ...] = (
    ("measured: the whole recipe, test pictures", lambda r: r.whole, "o", True),
    ("estimated from a few epochs", lambda r: r.brief, "s", False),
    ("estimated from a linear probe", lambda r: r.probe, "^", False),
)
_PALE = 0.4
_COLOURS = ("#3b7dd8", "#d9822b", "#2f9e6e", "#a45cc7", "#c7455c", "#4aa3b5", "#8a8f98")


def draw_plan(plan: Plan, path: Path) -> None:
    """Draw every candidate that was probed, the Pareto front and the limits, as a PNG."""
    results = [result for result in plan.results if result.probe]
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    if results:
        _draw_points(axes, results)
        front = pareto_front(results)
        axes.plot(
            [r.cost.p50_ms for r in front],
            [100 * estimated_top1(r, results) for r in front],
            color="#8a8f98", lw=1, zorder=1, label="Pareto front",
        )  # fmt: skip
    if plan.picked:
        picked = plan.result(plan.picked)
        at = picked.cost.p50_ms, 100 * estimated_top1(picked, results)
        axes.plot(*at, "o", ms=15, mfc="none", mec="#333333", label=f"picked: {plan.picked}")
    limits = plan.limits
    if limits.max_latency_ms is not None:
        axes.axvline(limits.max_latency_ms, color="#c7455c", lw=1, ls="--", label="--max-latency")
    if limits.min_top1_pct is not None:
        axes.axhline(limits.min_top1_pct, color="#c7455c", lw=1, ls=":", label="--min-top1")
    what = (
        "inference, estimated for" if plan.target else "from picture file to prediction, median, on"
    )
    axes.set(xlabel=f"int8, ms {what} {plan.target or plan.machine}", ylabel="top-1, %")
    axes.set_xlim(left=0)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)


def _draw_points(axes: Any, results: Sequence[Result]) -> None:
    """Draw a point for each result: its colour is the network, its shape the figure's source."""
    colours = {
        name: _COLOURS[number % len(_COLOURS)]
        for number, name in enumerate(dict.fromkeys(r.candidate.backbone for r in results))
    }
    for backbone, colour in colours.items():
        axes.plot([], [], marker="o", ls="", color=colour, label=backbone)
    labelled = set()
    for result in results:
        what, _, shape, filled = next(kind for kind in _KINDS if kind[1](result))
        score = result.whole
        estimate = estimated_top1(result, results)
        ends = [[0.0], [0.0]]
        if score:
            ends = [[100 * (score.top1 - score.interval.low)],
                    [100 * (score.interval.high - score.top1)]]  # fmt: skip
        colour = colours[result.candidate.backbone]
        rough = result.cost.source == "interpolated"
        axes.errorbar(
            result.cost.p50_ms, 100 * estimate, yerr=ends, fmt=shape, color=colour,
            mfc=colour if filled else "none", ms=7 if filled else 5, elinewidth=0.8,
            alpha=_PALE if rough else 1,
        )  # fmt: skip
        axes.annotate(
            str(result.candidate.image_size_px), (result.cost.p50_ms, 100 * estimate),
            xytext=(4, 4), textcoords="offset points", fontsize=6, color="#8a8f98",
        )  # fmt: skip
        if what not in labelled:
            labelled.add(what)
            axes.plot([], [], marker=shape, ls="", color="#555555",
                      mfc="#555555" if filled else "none", label=what)  # fmt: skip
    if any(result.cost.source == "interpolated" for result in results):
        axes.plot([], [], marker="^", ls="", color="#555555", mfc="none", alpha=_PALE,
                  label="pale: latency between two timed sizes")  # fmt: skip
