"""Charts as inline SVG that takes the page's text colour, so that it suits light and dark."""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from edgetl.bundle.reports import CorruptionScore, LayerSensitivity
from edgetl.evaluation.temperature import confidence_bins
from edgetl.workstation.report.scores import CurvePoint, Point

# Stands for the page's text colour; no chart uses it otherwise.
_INK = "#010203"
_BLUE, _ORANGE, _GREEN, _GREY = "#3b7dd8", "#d9822b", "#2f9e6e", "#8a8f98"
_COLOURS = (_BLUE, _ORANGE, _GREEN, "#a45cc7", "#c7455c", "#4aa3b5")
_STYLE = {
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched and copied
    "svg.hashsalt": "edgetl",  # the same chart gives the same bytes
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
}


class Chart(NamedTuple):
    """An SVG element and the text that says the same in words."""

    svg: str
    alternative: str


def accuracy_against(points: Sequence[Point], label: str, unit: str) -> Chart:
    """Top-1 with its interval against latency or size, with the Pareto front.

    An artifact is on the front if no other is both at least as accurate and at least as small or
    fast, and better in one of the two.
    """
    front = sorted(_front(points), key=lambda point: point.cost)

    def plot(axes: Any) -> None:
        axes.plot(
            [p.cost for p in front], [100 * p.top1 for p in front], color=_GREY, lw=1, zorder=1
        )
        for number, point in enumerate(points):
            low, high = point.top1 - point.interval.low, point.interval.high - point.top1
            axes.errorbar(
                point.cost,
                100 * point.top1,
                yerr=[[100 * max(low, 0)], [100 * max(high, 0)]],
                fmt="o" if point in front else "s",
                ms=7 if point in front else 5,
                color=_COLOURS[number % len(_COLOURS)],
                elinewidth=0.8,
                label=point.name,
            )
        axes.set_xlim(left=0)
        axes.set_xlabel(f"{label}, {unit}")
        axes.set_ylabel("top-1, %")
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))

    text = "; ".join(f"{p.name} {100 * p.top1:.1f} % at {p.cost:.3g} {unit}" for p in points)
    best = ", ".join(point.name for point in front)
    return _chart(plot, f"Top-1 against {label}. {text}. On the Pareto front: {best}.", (6.4, 3))


def _front(points: Sequence[Point]) -> list[Point]:
    def beaten(point: Point) -> bool:
        return any(
            other.cost <= point.cost
            and other.top1 >= point.top1
            and (other.cost, other.top1) != (point.cost, point.top1)
            for other in points
        )

    return [point for point in points if not beaten(point)]


def learning_curves(points: Sequence[CurvePoint]) -> Chart:
    """Losses by epoch, and validation top-1 if there is a validation part."""
    epochs = [point.epoch for point in points]
    scored = [point for point in points if point.val_loss is not None]

    def plot(axes: Any) -> None:
        axes.plot(epochs, [p.train_loss for p in points], color=_BLUE, label="training loss")
        if scored:
            x = [p.epoch for p in scored]
            axes.plot(x, [p.val_loss for p in scored], color=_ORANGE, label="validation loss")
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=8)

    first, last = points[0].train_loss, points[-1].train_loss
    text = f"Training loss over {len(points)} epochs, from {first:.2f} to {last:.2f}."
    return _chart(plot, text, (6.4, 2.6))


def reliability(truth: NDArray[np.int64], logits: NDArray[np.float32], temperature: float) -> Chart:
    """Accuracy by confidence, before and after the temperature (Guo et al. 2017)."""
    lines = [
        ("without temperature", _ORANGE, *_bins(truth, logits, 1.0)),
        (f"at temperature {temperature:.2f}", _BLUE, *_bins(truth, logits, temperature)),
    ]

    def plot(axes: Any) -> None:
        axes.plot([0, 100], [0, 100], color=_GREY, lw=0.8, ls="--")
        for label, colour, confidence, accuracy, counts in lines:
            axes.plot(confidence, accuracy, color=colour, lw=1, label=label)
            axes.scatter(confidence, accuracy, s=6 + 60 * counts / counts.max(), color=colour)
        axes.set_xlabel("confidence, %")
        axes.set_ylabel("right, %")
        axes.legend(fontsize=8)

    text = "; ".join(
        f"{label}: "
        + ", ".join(f"{c:.0f} % sure, {a:.0f} % right" for c, a in zip(sure, right, strict=True))
        for label, _, sure, right, _ in lines
    )
    return _chart(plot, f"Reliability. {text}.", (4.4, 3.4))


def _bins(
    truth: NDArray[np.int64], logits: NDArray[np.float32], temperature: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean confidence and accuracy in percent, and the number of pictures, of each bin in use."""
    confidence, right, bins = confidence_bins(truth, logits, temperature)
    counts = np.bincount(bins).astype(np.float64)
    used = counts > 0
    sure, correct = (np.bincount(bins, each)[used] / counts[used] for each in (confidence, right))
    return 100 * sure, 100 * correct, counts[used]


def confusion_image(matrix: Sequence[Sequence[int]]) -> Chart:
    """The confusion matrix of many classes as an image; rows are true classes, in percent."""
    counts = np.array(matrix, np.float64)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    def plot(axes: Any) -> None:
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
        axes.set_xlabel("predicted class, by number")
        axes.set_ylabel("true class, by number")
        axes.figure.colorbar(image, ax=axes, label="% of the true class")

    right = float(np.diag(counts).sum() / max(counts.sum(), 1))
    text = f"Confusion matrix of {len(counts)} classes; {100 * right:.1f} % lie on the diagonal."
    return _chart(plot, text, (5.4, 4.4))


def corruptions(
    scores: Mapping[str, Sequence[CorruptionScore]], clean: Mapping[str, float]
) -> Chart:
    """Top-1 by severity of each corruption; the first model dashed, the last one drawn through.

    Args:
        scores: by the models' names.
        clean: top-1 without corruption, 0 to 1, by the models' names.
    """
    kinds = list(dict.fromkeys(score.corruption for own in scores.values() for score in own))
    lines = [
        (model, kind, [clean[model], *(s.top1 for s in own if s.corruption == kind)])
        for model, own in scores.items()
        for kind in kinds
    ]
    last = list(scores)[-1]

    def plot(axes: Any) -> None:
        for model, kind, top1 in lines:
            axes.plot(
                range(len(top1)),
                [100 * share for share in top1],
                color=_COLOURS[kinds.index(kind) % len(_COLOURS)],
                ls="-" if model == last else "--",
                lw=1.6 if model == last else 0.9,
                label=kind if model == last else None,
            )
        axes.set_xlabel("severity")
        axes.set_ylabel("top-1, %")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))

    text = "; ".join(
        f"{model} under {kind}: " + ", ".join(f"{100 * share:.0f}" for share in top1)
        for model, kind, top1 in lines
    )
    return _chart(plot, f"Top-1 in percent at severities 0 to 5. {text}.", (6.4, 3))


def sensitivities(layers: Sequence[LayerSensitivity]) -> Chart:
    """The layers that int8 costs most, as signal-to-noise ratio: the lower, the more it costs."""
    worst = list(layers)[:15][::-1]

    def plot(axes: Any) -> None:
        names = [layer.activation for layer in worst]
        axes.barh(names, [layer.snr_db for layer in worst], color=_BLUE)
        axes.set_xlabel("signal to noise in the logits, dB")
        axes.tick_params(axis="y", labelsize=8)

    text = ", ".join(f"{layer.activation} {layer.snr_db:.0f} dB" for layer in worst[::-1])
    return _chart(plot, f"Int8 costs most in: {text}.", (6.4, 0.6 + 0.24 * len(worst)))


def stages(rows: Sequence[tuple[str, Sequence[float]]], names: Sequence[str]) -> Chart:
    """How long each stage takes of one picture, stacked, in ms (medians)."""

    def plot(axes: Any) -> None:
        labels = [name for name, _ in rows][::-1]
        left = np.zeros(len(rows))
        for number, stage in enumerate(names):
            widths = np.array([times[number] for _, times in rows][::-1])
            axes.barh(labels, widths, left=left, color=_COLOURS[number], label=stage)
            left += widths
        axes.set_xlabel("ms")
        axes.tick_params(axis="y", labelsize=8)
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))

    text = "; ".join(
        f"{row}: " + ", ".join(f"{n} {t:.2f} ms" for n, t in zip(names, times, strict=True))
        for row, times in rows
    )
    return _chart(plot, f"Time by stage. {text}.", (6.4, 0.9 + 0.3 * len(rows)))


def _chart(plot: Callable[[Any], None], alternative: str, inches: tuple[float, float]) -> Chart:
    """Draw a chart; `alternative` says the same in words."""
    file = io.StringIO()
    # A character that the layout's font lacks is drawn by the browser all the same.
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.simplefilter("ignore", UserWarning)
        figure = Figure(figsize=inches, layout="constrained")
        plot(figure.add_subplot())
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub("<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    label = escape(alternative, quote=True)
    return Chart(svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1), alternative)
