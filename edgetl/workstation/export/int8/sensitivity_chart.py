"""Draws what int8 costs each layer."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from edgetl.bundle.reports import LayerSensitivity
from edgetl.core.files import atomic_write

_SHOWN = 40


def draw_sensitivities(sensitivities: Sequence[LayerSensitivity], path: Path) -> None:
    """Draw the signal to noise ratios of the `_SHOWN` worst activations, worst first, as a PNG."""
    shown = sensitivities[:_SHOWN]
    figure = Figure(figsize=(8, 1.2 + 0.2 * len(shown)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh([s.activation for s in shown], [s.snr_db for s in shown], height=0.7)
    axes.bar_label(bars, [f"{s.snr_db:.1f}" for s in shown], padding=3, fontsize=7)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.tick_params(axis="y", labelsize=8)
    title = "logits' signal to noise ratio where only this, and what makes it, is int8"
    axes.set(title=title, xlabel="dB: the shorter, the more int8 costs")
    axes.title.set_fontsize(10)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)
