"""What each epoch brought: lines of JSON, a picture of the curves, loggers."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from edgetl.core.errors import EdgetlError
from edgetl.core.files import atomic_write
from edgetl.core.schema import Frozen, unknown_choice_hint
from edgetl.workstation.recipe import Recipe

METRICS_FILE = "metrics.jsonl"
CURVES_FILE = "curves.png"
LOGGERS = ("tensorboard", "mlflow")


class EpochMetrics(Frozen, kw_only=True, frozen=True):
    """One line of `metrics.jsonl`.

    Attributes:
        epoch: from 1.
        val_loss, val_top1, val_calibrated_loss: as in `Evaluation` of `scoring`; None where
            the run has no validation part. The last is what the best epoch is chosen by.
        rate: the learning rate the epoch ended at, of the parameters that learn fastest.
        seconds: since training began or was resumed.
    """

    epoch: int
    train_loss: float
    val_loss: float | None
    val_top1: float | None
    val_calibrated_loss: float | None
    rate: float
    seconds: float

    def scalars(self) -> dict[str, float]:
        """What a display draws over the epochs, by name."""
        values = msgspec.structs.asdict(self)
        return {
            name: value
            for name, value in values.items()
            if value is not None and name not in ("epoch", "seconds")
        }


class Logger(Protocol):
    """Someone else's display of a run."""

    def __init__(self, out: Path, recipe: Recipe, *, resume: bool) -> None:
        """Begin a run, or go on with the one that was broken off in this run folder."""
        ...

    def epoch(self, metrics: EpochMetrics) -> None:
        """An epoch has ended."""
        ...

    def end(self, scores: dict[str, float]) -> None:
        """The run has ended with these scores."""
        ...


def find_loggers(names: tuple[str, ...]) -> list[type[Logger]]:
    """What opens each logger for a run folder and its recipe.

    Raises EdgetlError for a name or a package that is not there.
    """
    found: list[type[Logger]] = []
    for name in names:
        try:
            if name == "tensorboard":
                from edgetl.workstation.training.log_tensorboard import TensorBoard

                found.append(TensorBoard)
            elif name == "mlflow":
                # It would send home what it is used for, unless the user has decided on that.
                os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
                from edgetl.workstation.training.log_mlflow import MLflow

                found.append(MLflow)
            else:
                hint = unknown_choice_hint(name, LOGGERS)
                raise EdgetlError(f"There is no logger '{name}'.", hint=hint)
        except ImportError as error:
            raise EdgetlError(
                f"Logging to {name} needs a package that is not installed: {error.name}.",
                hint=f"pip install 'edgetl[{name}]'",
            ) from error
    return found


class History:
    """A run's `metrics.jsonl` and whoever else wants to know."""

    def __init__(self, out: Path, loggers: list[Logger], *, keep_epochs: int) -> None:
        """Go on behind epoch `keep_epochs`: later lines are of epochs that were cut off."""
        self._path = out / METRICS_FILE
        self._loggers = loggers
        kept = [line for line in _read(self._path) if line.epoch <= keep_epochs]
        with atomic_write(self._path) as file:
            file.writelines(msgspec.json.encode(line) + b"\n" for line in kept)
        self._lines = kept

    @property
    def lines(self) -> Sequence[EpochMetrics]:
        """Every epoch so far."""
        return self._lines

    def add(self, metrics: EpochMetrics) -> None:
        """Write one epoch down."""
        self._lines.append(metrics)
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(metrics) + b"\n")
        for logger in self._loggers:
            logger.epoch(metrics)

    def end(self, scores: dict[str, float]) -> None:
        """Draw the curves and tell the loggers how it ended."""
        if self._lines:
            draw_curves(self._lines, self._path.with_name(CURVES_FILE))
        for logger in self._loggers:
            logger.end(scores)


def _read(path: Path) -> list[EpochMetrics]:
    """Whole lines only: the last one may have been cut off."""
    lines = []
    for text in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            lines.append(msgspec.json.decode(text, type=EpochMetrics))
        except msgspec.DecodeError:
            break
    return lines


def draw_curves(lines: list[EpochMetrics], path: Path) -> None:
    """Losses, validation accuracy where there is one, and rate over the epochs, as a PNG."""
    validated = lines[0].val_loss is not None
    panels = 3 if validated else 2
    figure = Figure(figsize=(4 * panels, 3.6), layout="constrained")
    losses, *accuracy, rates = figure.subplots(1, panels)
    epochs = [line.epoch for line in lines]
    losses.plot(epochs, [line.train_loss for line in lines], marker=".", label="training")
    losses.set(title="loss", xlabel="epoch")
    if validated:
        losses.plot(epochs, [line.val_loss for line in lines], marker=".", label="validation")
        _draw_accuracy(accuracy[0], lines)
    losses.legend()
    rates.plot(epochs, [line.rate for line in lines], marker=".", color="tab:green")
    rates.set(title="learning rate at the end of the epoch", xlabel="epoch")
    for axes in figure.axes:
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)


def _draw_accuracy(axes: Axes, lines: list[EpochMetrics]) -> None:
    """The curve in percent, and the epoch with the least calibrated loss (of equals the last)."""
    top1 = [100 * (line.val_top1 or 0) for line in lines]
    axes.set(title="validation top-1, %", xlabel="epoch")
    axes.plot([line.epoch for line in lines], top1, marker=".", color="tab:orange")
    best = min(range(len(lines)), key=lambda i: (lines[i].val_calibrated_loss or 0.0, -i))
    axes.plot(
        lines[best].epoch,
        top1[best],
        "o",
        color="tab:red",
        label=f"best: epoch {lines[best].epoch}, {top1[best]:.1f} %",
    )
    axes.legend()
