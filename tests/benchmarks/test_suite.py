"""benchmarks/suite.py for real, on pictures made on the spot."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torchvision")

import suite
from as_user import RunError
from suite_runs import Task

from tests.making import KINDS, write_class_folders
from tests.tiny import TINY

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


def arguments(sets: Path, place: Path, *more: str) -> list[str]:
    """The suite on the made sets, without anything to fetch."""
    settings = [part for setting in TINY for part in ("--set", setting)]
    return [
        str(sets), "--results", str(place / "results"), "--work", str(place),
        "--sets", "first,parted", "--weights", "none", "--image-size", "32", "--plain", "1",
        *settings, "--set", "finetune.epochs=1", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def table(sets: Path, place: Path) -> str:
    """What the suite prints, run as a user runs it, with the whole as JSON beside its results.

    In a process of its own: the plain loop's data loader forks, which this one, with the threads of
    other tests' libraries, must not do.
    """
    script = Path(suite.__file__)
    command = arguments(sets, place, "--json", str(place / "all.json"))
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    ended = subprocess.run(
        [sys.executable, script, *command], capture_output=True, text=True, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture
def call(sets: Path, place: Path, table: str, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """The suite's command line in this process, once its first results are there."""

    def run(*more: str) -> None:
        monkeypatch.setattr(sys, "argv", ["suite.py", *arguments(sets, place, *more)])
        suite.main()

    return run


def kept(place: Path) -> dict[str, dict]:
    return {p.name: json.loads(p.read_text()) for p in (place / "results").iterdir()}


def test_measures_every_contender_on_every_set_on_the_same_pictures(
    table: str, place: Path
) -> None:
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
    lines = table.splitlines()
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


def test_corrupted_pictures_are_scored_where_that_is_wanted(
    call: Suite, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = kept(place)
    call("--corruptions", "--plain", "", "--sets", "first")
    (new,) = kept(place).keys() - before.keys()
    assert 0 <= kept(place)[new]["corrupted_top1"] <= 1
    assert " corrupted " in capsys.readouterr().out


def test_a_setting_that_no_recipe_has_stops_it_before_the_first_run(call: Suite) -> None:
    with pytest.raises(SystemExit, match="finetune"):
        call("--variant", "wrong:finetune.epoch=3")


def test_a_comma_may_belong_to_a_value() -> None:
    text = "deep:head.hidden=[512,256],finetune.ema=0"
    assert suite.read_variant(text) == ("deep", ["head.hidden=[512,256]", "finetune.ema=0"])
    with pytest.raises(SystemExit, match="NAME:key=value"):
        suite.read_variant("finetune.ema=0")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ("12", None, None)),
        (["--quick"], ("8", 16, 128)),
        (["--quick", "--plain", "", "--epochs", "4"], ("", 4, 128)),
    ],
)
def test_quick_gives_edgetl_twice_the_plain_loops_epochs(
    given: list[str], expected: tuple[str, int | None, int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["suite.py", "pictures", "--results", "out", *given])
    read = suite.read_arguments()
    assert (read.plain, read.epochs, read.image_size) == expected
