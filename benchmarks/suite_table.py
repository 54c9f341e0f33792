"""Contenders beside the plain loop, picture by picture, and the tables that say so."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from suite_runs import Result

from edgetl.evaluation.bootstrap import bootstrap

Right = Mapping[str, bool]


class Difference(NamedTuple):
    """Points of top-1 that one has more than the other, and the middle 95 % of resamples."""

    mean_pp: float
    low_pp: float
    high_pp: float


class Cell(NamedTuple):
    """A contender on a set: mean top-1 and seconds over its seeds.

    `difference` is to the better plain loop; None for a plain loop, or where none was run.
    `corrupted_top1` is the mean over corrupted pictures; None where it was not measured.
    """

    top1: float
    seconds: float
    seeds: int
    difference: Difference | None
    corrupted_top1: float | None = None


class Row(NamedTuple):
    """A set: how many pictures it has (of the first seed), and each contender's cell by name."""

    name: str
    train: int
    test: int
    cells: dict[str, Cell]


def paired_difference(mine: Sequence[Right], other: Sequence[Right]) -> Difference:
    """How much more often one of two is right, on the same pictures in each of some seeds.

    Whole pictures are resampled, with what they add in every seed: one that is measured on with
    several seeds is still one picture. How lucky a training seed was is not in the interval.

    Args:
        mine, other: for each seed, whether each picture was answered rightly.

    Raises ValueError where the two were not asked about the same pictures.
    """
    gains: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for own, others in zip(mine, other, strict=True):
        if own.keys() != others.keys():
            raise ValueError("Only answers to the same pictures can be compared.")
        for picture, right in own.items():
            gains[picture] += right - others[picture]
            times[picture] += 1
    kinds = Counter((gains[picture], count) for picture, count in times.items())
    gained, asked = np.array(list(kinds), dtype=np.float64).T

    def difference_pp(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        return (100 * (drawn @ gained) / (drawn @ asked))[:, np.newaxis]

    counts = np.array(list(kinds.values()), dtype=np.int64)
    (interval,) = bootstrap(counts, difference_pp)
    return Difference(100 * sum(gains.values()) / sum(times.values()), interval.low, interval.high)


def make_rows(results: Sequence[Result]) -> list[Row]:
    """A row a set, in the order the results come."""
    return [
        _row([result for result in results if result["set"] == name])
        for name in dict.fromkeys(result["set"] for result in results)
    ]


def _row(results: Sequence[Result]) -> Row:
    by_name: dict[str, list[Result]] = {}
    for result in results:
        by_name.setdefault(result["contender"], []).append(result)
    plain = [mine for mine in by_name.values() if mine[0]["kind"] == "plain"]
    best = max(plain, key=lambda mine: _mean(mine, "top1"), default=None)
    cells = {
        name: Cell(
            _mean(mine, "top1"), _mean(mine, "seconds"), len(mine),
            _beside(mine, best) if best and mine[0]["kind"] == "edgetl" else None,
            _mean(mine, "corrupted_top1") if mine[0].get("corrupted_top1") is not None else None,
        )
        for name, mine in by_name.items()
    }  # fmt: skip
    return Row(results[0]["set"], results[0]["train"], results[0]["test"], cells)


def _mean(results: Sequence[Result], key: str) -> float:
    return float(np.mean([result[key] for result in results]))


def _beside(mine: Sequence[Result], other: Sequence[Result]) -> Difference | None:
    """Over the seeds that both have finished; None where there are none."""
    own, others = ({result["seed"]: _right(result) for result in some} for some in (mine, other))
    both = [seed for seed in own if seed in others]
    if not both:
        return None
    return paired_difference([own[seed] for seed in both], [others[seed] for seed in both])


def _right(result: Result) -> Right:
    return {name: truth == said for name, (truth, said) in result["pictures"].items()}


def overall(rows: Sequence[Row]) -> dict[str, dict[str, float | int | str]]:
    """Of each contender with differences: their mean over the sets, and the worst and its set."""
    summary: dict[str, dict[str, float | int | str]] = {}
    for name in _names(rows):
        found = [
            (row.cells[name].difference.mean_pp, row.name)
            for row in rows
            if name in row.cells and row.cells[name].difference
        ]
        if found:
            worst_pp, where = min(found)
            mean_pp = sum(difference for difference, _ in found) / len(found)
            summary[name] = {
                "sets": len(found), "mean_pp": mean_pp, "worst_pp": worst_pp, "worst_set": where,
            }  # fmt: skip
    return summary


def draw_table(rows: Sequence[Row], *, markdown: bool = False) -> str:
    """A line a set, then the mean and the worst difference to the better plain loop."""
    names = _names(rows)
    lines = [["set", "train", "test", *names]]
    for row in rows:
        cells = [_cell(row.cells.get(name)) for name in names]
        lines.append([row.name, str(row.train), str(row.test), *cells])
    summary = overall(rows)
    for title, key in (("mean difference", "mean_pp"), ("worst difference", "worst_pp")):
        ends = [f"{summary[name][key]:+.1f}" if name in summary else "" for name in names]
        if key == "worst_pp":
            ends = [
                f"{end} ({summary[name]['worst_set']})" if end else ""
                for end, name in zip(ends, names, strict=True)
            ]
        lines.append([title, "", "", *ends])
    if markdown:
        rule = ["---", "---:", "---:", *["---:"] * len(names)]
        return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.cells))


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "not run"
    beside = ""
    if cell.difference:
        mean_pp, low_pp, high_pp = cell.difference
        beside = f", {mean_pp:+.1f} [{low_pp:+.1f}, {high_pp:+.1f}]"
    if cell.corrupted_top1 is not None:
        beside += f", corrupted {100 * cell.corrupted_top1:.1f} %"
    return f"{100 * cell.top1:.1f} %{beside}, {cell.seconds:.0f} s"
