"""What `edgetl run` prints: text, JSON lines, CSV, or one JSON document."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from datetime import datetime

import click

from edgetl.bundle.reports import LabelScore, Prediction


class Output(ABC):
    """Prints predictions; each is printed and flushed as it comes, if the format allows it.

    Args:
        ranks: how many classes each prediction lists.
    """

    def __init__(self, ranks: int) -> None:
        self._ranks = ranks

    @abstractmethod
    def add(self, prediction: Prediction, time: datetime) -> None:
        """Print a prediction; `time` is when a frame arrived, or another picture was answered."""

    def end(self) -> None:  # noqa: B027 - most formats have nothing at the end
        """Print what belongs after the last prediction."""


class Text(Output):
    """A line for each picture, for people."""

    def add(self, prediction: Prediction, time: datetime) -> None:
        """Print the label, the next best labels and the time it took."""
        click.echo(line(prediction))


class JsonLines(Output):
    """A JSON object for each picture, on a line of its own."""

    def add(self, prediction: Prediction, time: datetime) -> None:
        """Print the time, then the prediction's fields."""
        import msgspec

        timed = {"time": _iso(time), **msgspec.to_builtins(prediction)}
        click.echo(msgspec.json.encode(timed))


class Csv(Output):
    """A header, and a row for each picture."""

    def __init__(self, ranks: int) -> None:
        import csv

        super().__init__(ranks)
        self._writer = csv.writer(_StandardOutput(), lineterminator="\n")
        numbered = range(1, ranks + 1)
        self._writer.writerow(
            ("source", "time", "label", "probability", "unknown",
             "decode_ms", "preprocess_ms", "inference_ms",
             *(name for i in numbered for name in (f"top{i}", f"top{i}_probability")))
        )  # fmt: skip

    def add(self, prediction: Prediction, time: datetime) -> None:
        """Print a row; "unknown" is empty, true or false."""
        p = prediction
        unknown = "" if p.unknown is None else str(p.unknown).lower()
        ranked = (cell for s in p.top for cell in (s.label, f"{s.probability:.6f}"))
        self._writer.writerow(
            (p.source, _iso(time), p.label, f"{p.probability:.6f}", unknown,
             f"{p.decode_ms:.3f}", f"{p.preprocess_ms:.3f}", f"{p.inference_ms:.3f}", *ranked)
        )  # fmt: skip


class JsonDocument(Output):
    """One JSON document, a list, once all pictures are classified."""

    def __init__(self, ranks: int) -> None:
        super().__init__(ranks)
        self._predictions: list[Prediction] = []

    def add(self, prediction: Prediction, time: datetime) -> None:
        """Keep the prediction for the end."""
        self._predictions.append(prediction)

    def end(self) -> None:
        """Print all predictions."""
        from edgetl.cli.show import print_json

        print_json(self._predictions)


# The formats of --format.
STREAMED: dict[str, Callable[[int], Output]] = {"text": Text, "jsonl": JsonLines, "csv": Csv}


class _StandardOutput:
    """The file that rows are written to; every write is flushed."""

    def write(self, text: str) -> None:
        """Print a row."""
        click.echo(text, nl=False)


def labelled(answer: Prediction) -> Prediction:
    """The prediction as if nobody had asked whether the picture is unknown."""
    import msgspec

    label = answer.top[0].label
    return msgspec.structs.replace(answer, label=label, unknown=None, distance=None)


def line(answer: Prediction) -> str:
    """Format one prediction: its label, the next best labels and the time it took."""
    total_ms = answer.decode_ms + answer.preprocess_ms + answer.inference_ms
    if answer.unknown:
        verdict = f"unknown (most like {_listed(answer.top)})"
    else:
        others = _listed(answer.top[1:])
        verdict = f"{answer.label} {answer.probability:.1%}" + (f" ({others})" if others else "")
    return f"{answer.source}: {verdict}  {total_ms:.1f} ms"


def _listed(scores: Iterable[LabelScore]) -> str:
    return ", ".join(f"{score.label} {score.probability:.1%}" for score in scores)


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")
