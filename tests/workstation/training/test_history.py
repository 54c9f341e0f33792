import json
import warnings
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("matplotlib")

from PIL import Image

from edgetl.workstation.training.history import EpochMetrics, History, draw_curves

WITHOUT_VAL = {"val_loss": None, "val_top1": None, "val_calibrated_loss": None}


def line(epoch: int, **changed: object) -> EpochMetrics:
    metrics = EpochMetrics(
        epoch=epoch,
        train_loss=2.0 / epoch,
        val_loss=2.5 / epoch,
        val_top1=1 - 0.5 / epoch,
        val_calibrated_loss=2.0 / epoch,
        rate=1e-3 / epoch,
        seconds=1.5 * epoch,
    )
    return msgspec.structs.replace(metrics, **changed)


def epochs(folder: Path) -> list[int]:
    return [json.loads(x)["epoch"] for x in (folder / "metrics.jsonl").read_text().splitlines()]


class Listener:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def epoch(self, metrics: EpochMetrics) -> None:
        self.heard.append(metrics)

    def end(self, scores: dict[str, float]) -> None:
        self.heard.append(scores)


def test_every_epoch_is_written_at_once_and_told(tmp_path: Path) -> None:
    listener = Listener()
    history = History(tmp_path, [listener], keep_epochs=0)
    history.add(line(1))
    assert epochs(tmp_path) == [1]
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {
        "epoch": 1,
        "train_loss": 2.0,
        "val_loss": 2.5,
        "val_top1": 0.5,
        "val_calibrated_loss": 2.0,
        "rate": 1e-3,
        "seconds": 1.5,
    }
    history.add(line(2))
    history.end({"val_top1": 0.75})
    assert epochs(tmp_path) == [1, 2]
    assert listener.heard == [line(1), line(2), {"val_top1": 0.75}]


@pytest.mark.parametrize(
    "cut", ["", '{"epoch":4,"train', "damaged\n", '{"epoch":3,"unknown":1}\n'],
    ids=["nothing", "half a line", "no JSON", "another schema"],
)  # fmt: skip
def test_a_resumed_run_goes_on_behind_its_last_whole_epoch(tmp_path: Path, cut: str) -> None:
    first = History(tmp_path, [], keep_epochs=0)
    for epoch in (1, 2, 3):
        first.add(line(epoch))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(cut)
    second = History(tmp_path, [], keep_epochs=2)  # the state is of epoch 2
    assert epochs(tmp_path) == [1, 2]
    second.add(line(3))
    assert epochs(tmp_path) == [1, 2, 3]


def test_a_new_run_begins_with_an_empty_file(tmp_path: Path) -> None:
    History(tmp_path, [], keep_epochs=0).add(line(1))
    History(tmp_path, [], keep_epochs=0)
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    "lines",
    [
        [line(1), line(2), line(3)],
        [line(1)],
        [line(1, **WITHOUT_VAL), line(2, **WITHOUT_VAL)],
        [line(1), line(2, rate=0.0)],
        [line(1, rate=0.0)],
        [line(1), line(2, val_loss=None)],
    ],
    ids=["plain", "one", "no-val", "ends-at-zero", "zero", "val-loss-not-a-number"],
)
def test_curves_are_a_picture_of_a_sensible_size(lines, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_curves(lines, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
        validated = lines[0].val_loss is not None
        assert picture.size == (440 * (3 if validated else 2), 396)
        drawn = np.asarray(picture.convert("RGB"))
    assert 0.005 < (drawn.min(2) < 250).mean() < 0.5  # lines on white
    assert (tmp_path / "curves.png").stat().st_size < 200_000


def test_a_run_without_epochs_has_no_curves(tmp_path: Path) -> None:
    History(tmp_path, [], keep_epochs=0).end({})
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
