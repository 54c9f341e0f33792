"""Draws a search: the best loss so far, and the loss against each value."""

import math
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from edgetl.core.files import atomic_write
from edgetl.workstation.ranges import Between
from edgetl.workstation.search.results import Search, Trial
from edgetl.workstation.search.trial import shown

_BLUE, _ORANGE, _GREY = "#3b7dd8", "#d9822b", "#8a8f98"
_COLUMNS = 4


def draw_search(search: Search, path: Path) -> None:
    """Draw trials by their number, and one panel for each key, as a PNG."""
    rows = math.ceil(len(search.ranges) / _COLUMNS)
    figure = Figure(figsize=(10, 3.4 + 2.6 * rows), layout="constrained")
    grid = figure.add_gridspec(1 + rows, _COLUMNS, height_ratios=[1.3, *[1] * rows])
    top = figure.add_subplot(grid[0, :])
    _draw_progress(top, search)
    for index, key in enumerate(search.ranges):
        panel = figure.add_subplot(grid[1 + index // _COLUMNS, index % _COLUMNS])
        _draw_key(panel, search, key)
        if index % _COLUMNS == 0:
            panel.set_ylabel("validation loss", fontsize=8)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)


def _draw_progress(axes: Any, search: Search) -> None:
    finished, pruned = _shown(search, "finished"), _shown(search, "pruned")
    numbers, losses = _numbers(finished), _losses(finished)
    axes.plot(numbers, list(accumulate(losses, min)), color=_GREY, lw=1, drawstyle="steps-post",
              label="best so far", zorder=1)  # fmt: skip
    axes.plot(numbers, losses, "o", color=_BLUE, ms=5, label="finished")
    if pruned:
        axes.plot(_numbers(pruned), _losses(pruned), "x", color=_GREY, ms=5,
                  label="pruned, its last epoch")  # fmt: skip
    if search.own:
        axes.axhline(search.own.val_loss, color=_ORANGE, lw=1, ls="--", label="the recipe's own")
    best = search.ranked[0]
    axes.plot(best.number, best.val_loss, "o", ms=13, mfc="none", mec="#333333",
              label=f"best: trial {best.number}")  # fmt: skip
    axes.set(xlabel="trial", ylabel="calibrated validation loss")
    axes.set_ylim(*_limits(search))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=5, frameon=False)


def _draw_key(axes: Any, search: Search, key: str) -> None:
    declared = search.ranges[key]
    for state, marker, colour in (("pruned", "x", _GREY), ("finished", "o", _BLUE)):
        trials = _shown(search, state)
        values: list[Any] = [trial.values[key] for trial in trials]
        if not isinstance(declared, Between):
            values = [declared.index(value) for value in values]
        axes.plot(values, _losses(trials), marker, color=colour, ms=4)
    best = search.ranked[0]
    at: Any = best.values[key]
    if isinstance(declared, Between):
        axes.set_xscale("log" if declared.log else "linear")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(*_margins(declared))
    else:
        at = declared.index(at)
        axes.set_xticks(range(len(declared)), [shown(choice) for choice in declared])
        axes.set_xlim(-0.5, len(declared) - 0.5)
    axes.plot(at, best.val_loss, "o", ms=10, mfc="none", mec="#333333")
    axes.set_ylim(*_limits(search))
    importance = search.importances.get(key)
    axes.set_title(key + (f": {importance:.0%}" if importance is not None else ""), fontsize=8)
    axes.tick_params(labelsize=7)


def _margins(declared: Between) -> tuple[float, float]:
    """The ends of a panel, a little outside the range's own."""
    low, high = float(declared.low), float(declared.high)
    if declared.log:
        ratio = (high / low) ** 0.05
        return low / ratio, high * ratio
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _limits(search: Search) -> tuple[float, float]:
    """The losses to show: a few very bad trials are not to hide what differs among the good."""
    losses = sorted(_losses(_shown(search, "finished", "pruned")))
    usual = losses[math.ceil(0.9 * len(losses)) - 1]
    worst = max(usual, *(search.own.val_loss or 0.0,) if search.own else ())
    margin = 0.08 * (worst - losses[0]) or 0.01
    return losses[0] - margin, worst + margin


def _shown(search: Search, *states: Any) -> list[Trial]:
    return [trial for trial in search.having(*states) if trial.val_loss is not None]


def _numbers(trials: Sequence[Trial]) -> list[int]:
    return [trial.number for trial in trials]


def _losses(trials: Sequence[Trial]) -> list[float]:
    return [trial.val_loss for trial in trials if trial.val_loss is not None]
