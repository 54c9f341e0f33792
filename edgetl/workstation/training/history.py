"""The metrics of each epoch: written as lines of JSON, plotted, and sent to loggers."""

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
        val_loss, val_top1, val_calibrated_loss: as in `Evaluation` of `scoring`; None if
            the run has no validation part. The best epoch is chosen by the calibrated loss.
        rate: the highest learning rate of any parameter at the end of the epoch.
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
        """The values to plot over the epochs, by name."""
        values = msgspec.structs.asdict(self)
        return {
            name: value
            for name, value in values.items()
            if value is not None and name not in ("epoch", "seconds")
        }


class Listener(Protocol):
    """Gets a run's metrics as they come."""

    def epoch(self, metrics: EpochMetrics) -> None:
        """Take an epoch's metrics. What it raises ends the run."""
        ...

    def end(self, scores: dict[str, float]) -> None:
        """Take the final scores; the run has ended."""
        ...


class Logger(Listener, Protocol):
    """Sends a run's metrics to another tool."""

    def __init__(self, out: Path, recipe: Recipe, *, resume: bool) -> None:
        """Begin logging a run, or continue that of the interrupted run in this folder."""
        ...


def find_loggers(names: tuple[str, ...]) -> list[type[Logger]]:
    """The logger class for each name.

    Raises EdgetlError for an unknown name or a package that is not installed.
    """
    classes: list[type[Logger]] = []
    for name in names:
        try:
            if name == "tensorboard":
                from edgetl.workstation.training.log_tensorboard import TensorBoard

                classes.append(TensorBoard)
            elif name == "mlflow":
                # MLflow reports its usage to its makers unless this is set; a user's value is kept.
                os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
                from edgetl.workstation.training.log_mlflow import MLflow

                classes.append(MLflow)
            else:
                hint = unknown_choice_hint(name, LOGGERS)
                raise EdgetlError(f"There is no logger '{name}'.", hint=hint)
        except ImportError as error:
            raise EdgetlError(
                f"Logging to {name} needs a package that is not installed: {error.name}.",
                hint=f"pip install 'edgetl[{name}]'",
            ) from error
    return classes


class History:
    """Writes a run's `metrics.jsonl` and passes the metrics on to loggers.

    `out` is None in a process that writes nothing.
    """

    def __init__(
        self, out: Path | None, listeners: Sequence[Listener], *, keep_epochs: int
    ) -> None:
        """Continue after epoch `keep_epochs`; drops the lines of later epochs."""
        self._path = out / METRICS_FILE if out else None
        self._listeners = listeners
        self._lines: list[EpochMetrics] = []
        if self._path:
            self._lines = [line for line in _read(self._path) if line.epoch <= keep_epochs]
            with atomic_write(self._path) as file:
                file.writelines(msgspec.json.encode(line) + b"\n" for line in self._lines)

    @property
    def lines(self) -> Sequence[EpochMetrics]:
        """The metrics of every epoch so far."""
        return self._lines

    def add(self, metrics: EpochMetrics) -> None:
        """Write an epoch's metrics and pass them on."""
        self._lines.append(metrics)
        if self._path:
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode(metrics) + b"\n")
        for listener in self._listeners:
            listener.epoch(metrics)

    def end(self, scores: dict[str, float]) -> None:
        """Draw the curves and pass the final scores on."""
        if self._path and self._lines:
            draw_curves(self._lines, self._path.with_name(CURVES_FILE))
        for listener in self._listeners:
            listener.end(scores)


def _read(path: Path) -> list[EpochMetrics]:
    """The complete lines of a file; an interruption may have cut off the last one."""
    lines = []
    for text in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            lines.append(msgspec.json.decode(text, type=EpochMetrics))
        except msgspec.DecodeError:
            break
    return lines


def draw_curves(lines: list[EpochMetrics], path: Path) -> None:
    """Plot losses, rates and, if there are any, validation accuracies by epoch, as a PNG."""
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
    """Plot accuracy in percent; marks the epoch of lowest calibrated loss (of ties, the last)."""
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
