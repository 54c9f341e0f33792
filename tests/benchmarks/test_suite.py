"""benchmarks/suite.py for real, on pictures made on the spot."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torchvision")

import suite
from as_user import RunError
from suite_runs import Task

from tests.conftest import TINY
from tests.making import KINDS, write_class_folders

Suite = Callable[..., None]
_FACTS = ("set", "seed", "contender", "kind", "train", "test")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ "first" has two classes of ten pictures; "parted" has parts of its own, 12 and 4."""
    root = tmp_path_factory.mktemp("sets")
    write_class_folders(root / "first", 10, KINDS[:2])
    write_class_folders(root / "parted" / "train", 6, KINDS[1:])
    write_class_folders(root / "parted" / "val", 2, KINDS[1:], first_seed=50)
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("suite")


@pytest.fixture
def call(sets: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """The suite's command line, on the made sets, without anything to fetch."""
    settings = [part for setting in TINY for part in ("--set", setting)]

    def run(*more: str) -> None:
        monkeypatch.setattr(sys, "argv", [
            "suite.py", str(sets), "--results", str(place / "results"), "--work", str(place),
            "--sets", "first,parted", "--weights", "none", "--image-size", "32", "--epochs", "1",
            *settings, "--set", "finetune.epochs=1", *more,
        ])  # fmt: skip
        suite.main()

    return run


def kept(place: Path) -> dict[str, dict]:
    return {p.name: json.loads(p.read_text()) for p in (place / "results").iterdir()}


def test_measures_every_contender_on_every_set_on_the_same_pictures(
    call: Suite, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("--json", str(place / "all.json"))
    found = sorted(kept(place).values(), key=lambda result: [result[key] for key in _FACTS])
    assert [[result[key] for key in _FACTS] for result in found] == [
        ["first", 0, "edge-default", "edgetl", 16, 4],
        ["first", 0, "plain-1", "plain", 16, 4],
        ["parted", 0, "edge-default", "edgetl", 12, 4],
        ["parted", 0, "plain-1", "plain", 12, 4],
    ]
    for ours, plain in (found[:2], found[2:]):
        truth = {name: pair[0] for name, pair in ours["pictures"].items()}
        assert truth == {name: pair[0] for name, pair in plain["pictures"].items()}
        assert ours["parts"] == plain["parts"]
    assert set(found[3]["pictures"]) == {
        "val/slope/00.png", "val/slope/01.png", "val/stripes/00.png", "val/stripes/01.png"
    }  # fmt: skip
    assert found[0]["settings"]["finetune"]["epochs"] == 1
    assert found[1]["settings"]["side_px"] == 32
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["set", "first", "parted", "mean", "worst"]
    document = json.loads((place / "all.json").read_text())
    gaps = [ours["top1"] - plain["top1"] for ours, plain in (found[:2], found[2:])]
    assert document["overall"]["edge-default"]["mean_pp"] == pytest.approx(50 * sum(gaps))
    assert document["overall"]["edge-default"]["worst_pp"] == pytest.approx(100 * min(gaps))


def test_a_second_call_runs_only_what_is_new_and_goes_on_after_a_failure(
    call: Suite,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    call()  # from the test before; on its own, this makes them
    before = kept(place)
    asked: list[str] = []

    def fail(task: Task) -> None:
        asked.append(f"{task.laid.name} {task.contender.name}")
        raise RunError("no network card")

    monkeypatch.setattr(suite, "run_task", fail)
    call()
    assert not asked
    with pytest.raises(SystemExit, match="2 runs failed"):
        call("--variant", "wide:augment.min_area=0.9,augment.flip=none")
    assert asked == ["first edge-default+wide", "parted edge-default+wide"]
    assert kept(place) == before
    assert "no network card" in capsys.readouterr().err
    asked.clear()
    with pytest.raises(SystemExit, match="4 runs failed"):
        call("--seeds", "2")
    assert asked == [
        f"{name} {contender}" for name in ("first", "parted")
        for contender in ("plain-1", "edge-default")
    ]  # fmt: skip


def test_a_setting_that_no_recipe_has_stops_it_before_the_first_run(call: Suite) -> None:
    with pytest.raises(SystemExit, match="finetune"):
        call("--variant", "wrong:finetune.epoch=3")


def test_a_comma_may_belong_to_a_value() -> None:
    text = "deep:head.hidden=[512,256],finetune.ema=0"
    assert suite.read_variant(text) == ("deep", ["head.hidden=[512,256]", "finetune.ema=0"])
    with pytest.raises(SystemExit, match="NAME:key=value"):
        suite.read_variant("finetune.ema=0")
