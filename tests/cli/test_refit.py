"""`finetune --refit` through the entry point."""

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from edgetl.cli import progress
from edgetl.workstation.backbones.checkpoint import read_facts
from tests.cli.test_device_commands import expect_error
from tests.making import Remarks, inside

QUICK = (
    "--weights", "none", "--image-size", 32, "--epochs", 1, "--set", "precision=fp32",
    "--set", "finetune.batch=6", "--set", "probe.steps=20",
)  # fmt: skip
TWIN = (
    r"expect top-1 [\d.]+% \(95% interval [\d.]+ to [\d.]+\) on {images} pictures \({source}\), "
    r"measured on '{run}': same recipe, these pictures held out"
)


def closing(run: Path, images: int, source: str) -> str:
    """The last two lines."""
    refit = re.escape(str(run / "refit"))
    twin = TWIN.format(images=images, source=source, run=run.name)
    return rf"{refit} trained on all 18 pictures in \d+ s; {twin}\nnext: edgetl export {refit}"


def test_a_refit_follows_the_measured_run_and_carries_its_score(edgetl, data, tmp_path) -> None:
    run = tmp_path / "run"
    answer = edgetl("finetune", data, "-o", run, *QUICK, "--refit")
    assert answer.code == 0, answer.err
    test, calibrated, made, *last = answer.out.splitlines()
    assert test.startswith("torch float32, test: top-1 ")
    assert calibrated.startswith("temperature ")
    assert made.startswith(f"{run} made in ")
    assert re.fullmatch(closing(run, 3, "test part"), "\n".join(last))
    said = answer.err.splitlines()
    assert said.index("training with a test part held out, to measure") < said.index(
        "training again on all 18 pictures"
    )
    assert read_facts(run / "refit").training_images == 18


def test_a_finished_run_gets_its_refit_alone_and_only_once(edgetl, data, tmp_path) -> None:
    run = tmp_path / "run"
    edgetl("finetune", data, "-o", run, *QUICK)
    answer = edgetl("finetune", data, "-o", run, *QUICK, "--refit")
    assert answer.code == 0, answer.err
    assert re.fullmatch(closing(run, 3, "test part") + "\n", answer.out)
    expect_error(
        edgetl("finetune", data, "-o", run, *QUICK, "--refit"),
        f"'{run / 'refit'}' already holds a run.",
        "choose another folder with -o.",
    )


def test_a_run_of_another_recipe_is_not_refitted(edgetl, data, tmp_path) -> None:
    run = tmp_path / "run"
    edgetl("finetune", data, "-o", run, *QUICK)
    expect_error(
        edgetl("finetune", data, "-o", run, *QUICK, "--refit", "--seed", 4),
        f"'{run}' was begun with another recipe.",
        f"compare '{run / 'recipe.yaml'}', or start a new run in another folder.",
    )


def test_folds_and_a_refit_print_both(edgetl, data, tmp_path) -> None:
    out = tmp_path / "cross"
    answer = edgetl("finetune", data, "-o", out, *QUICK, "--folds", 2, "--refit")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert [line.split()[0] for line in lines[:5]] == [
        "fold", "fold-1", "fold-2", "mean", "deviation",
    ]  # fmt: skip
    assert re.fullmatch(closing(out, 18, "2 folds"), "\n".join(lines[6:]))
    assert inside(out) == ["fold-1", "fold-2", "folds.json", "refit"]


def test_a_refit_needs_a_test_part(edgetl, data, tmp_path) -> None:
    answer = edgetl(
        "finetune", data, "-o", tmp_path / "run", *QUICK, "--refit", "--set", "split.test=0"
    )
    expect_error(
        answer,
        f"No picture of '{data}' is held out to test on: a refit could not be measured.",
        "leave --refit away, as the run learns from every picture already; or hold some out: "
        "--set split.test=0.2",
    )
    assert inside(tmp_path) == []


@pytest.mark.parametrize("until", ["epoch 1:", "training again on all 18 pictures"])
def test_an_interruption_of_either_says_how_to_go_on(
    edgetl, data, tmp_path, monkeypatch, until
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        broken_off = Remarks(until, KeyboardInterrupt())
        patch.setattr(progress, "make_progress", lambda: broken_off)
        answer = edgetl("finetune", data, "-o", run, *QUICK, "--refit")
    assert (answer.code, answer.out) == (130, "")
    assert answer.err.startswith("Whole epochs are kept: the same command with --resume goes on.\n")
    answer = edgetl("finetune", data, "-o", run, *QUICK, "--refit", "--resume")
    assert answer.code == 0, answer.err
    assert read_facts(run / "refit").finished
