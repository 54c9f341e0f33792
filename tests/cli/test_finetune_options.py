"""`finetune`'s other ways: --folds, --find-rate, --log, and runs without a validation part."""

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from edgetl.cli import progress
from edgetl.workstation.recipe import Recipe, load_recipe, override
from edgetl.workstation.training.rate_finder import FoundRates, RateStep, Suggestion
from tests.cli.test_device_commands import expect_error
from tests.making import Remarks, inside, write_class_folders

QUICK = (
    "--weights", "none", "--image-size", 32, "--epochs", 1, "--set", "precision=fp32",
    "--set", "finetune.batch=6", "--set", "probe.steps=20",
)  # fmt: skip


@pytest.fixture(scope="module")
def unvalidated(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without a validation part."""
    from edgetl.workstation.training.finetune import finetune

    run = tmp_path_factory.mktemp("unvalidated") / "run"
    settings = ("weights=none", "image_size_px=32", "finetune.epochs=1")
    finetune(data, run, override(Recipe(), settings))
    return run


def test_folds_print_a_row_each_and_how_much_they_differ(edgetl, data, tmp_path) -> None:
    out = tmp_path / "cross"
    answer = edgetl("finetune", data, "-o", out, *QUICK, "--folds", 3)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].split() == ["fold", "pictures", "top-1", "%", "macro", "F1", "%"]
    assert [line.split()[0] for line in lines[1:6]] == [
        "fold-1", "fold-2", "fold-3", "mean", "deviation",
    ]  # fmt: skip
    report = json.loads((out / "folds.json").read_text())
    assert lines[4].split()[2:] == [
        f"{100 * report[score]['mean']:.2f}" for score in ("top1", "macro_f1")
    ]
    assert re.fullmatch(r"torch float32, 3 folds: top-1 .* 18 pictures", lines[6])
    assert lines[7] == f"{out}: a run a fold, and folds.json"
    assert "fold 3 of 3" in answer.err.splitlines()


def test_folds_of_data_with_a_test_part_are_an_error(edgetl, tmp_path) -> None:
    for name in ("train", "test"):
        write_class_folders(tmp_path / "data" / name, 4)
    answer = edgetl("finetune", tmp_path / "data", "-o", tmp_path / "cross", *QUICK, "--folds", 2)
    expect_error(
        answer,
        f"'{tmp_path / 'data'}' has a test part, so it cannot be split into folds.",
        "fine-tune without folds, or put all pictures of a class into one folder.",
    )
    assert inside(tmp_path) == ["data"]


def test_an_interruption_of_folds_or_of_a_run_says_how_to_go_on(
    edgetl, data, tmp_path, monkeypatch
) -> None:
    broken_off = Remarks("epoch 1:", KeyboardInterrupt())
    monkeypatch.setattr(progress, "make_progress", lambda: broken_off)
    for options in ((), ("--folds", 2)):
        out = tmp_path / f"out{len(options)}"
        answer = edgetl("finetune", data, "-o", out, *QUICK, *options)
        assert (answer.code, answer.out) == (130, "")
        assert answer.err.split("\n") == [
            "Whole epochs are kept: the same command with --resume goes on.",
            "",  # ends the line that ^C stands on
            "Interrupted.",
            "",
        ]


def test_an_interruption_before_the_first_whole_epoch_promises_nothing(
    edgetl, data, tmp_path, monkeypatch
) -> None:
    broken_off = Remarks("linear probe", KeyboardInterrupt())
    monkeypatch.setattr(progress, "make_progress", lambda: broken_off)
    for options in ((), ("--folds", 2)):
        validated = (*QUICK, "--set", "split.val=0.1")
        answer = edgetl("finetune", data, "-o", tmp_path / "out", *validated, *options)
        assert (answer.code, answer.err) == (130, "\nInterrupted.\n")


def test_find_rate_prints_settings_that_finetune_takes(edgetl, data, tmp_path) -> None:
    out = tmp_path / "run"
    answer = edgetl("finetune", data, "-o", out, *QUICK, "--find-rate")
    assert answer.code == 0, answer.err
    settings, where = answer.out.splitlines()
    assert where.endswith(f": {out / 'rates.png'}")
    assert inside(out) == ["rates.jsonl", "rates.png"]
    rates = override(Recipe(), settings.replace("--set ", "").split()).finetune
    recipe = load_recipe("edge-default").finetune
    ratio = recipe.head_rate / recipe.backbone_rate
    assert rates.head_rate / rates.backbone_rate == pytest.approx(ratio, rel=0.05)
    answer = edgetl("finetune", data, "-o", out, *QUICK, *settings.split())
    assert answer.code == 0, answer.err


def test_find_rate_says_by_what_it_suggests_or_that_it_does_not() -> None:
    from edgetl.cli.finetune_text import rates_text

    step = RateStep(step=1, backbone_rate=1.234e-4, head_rate=2.468e-4, loss=1.0, smoothed=1.0)
    settings = "--set finetune.backbone_rate=0.00012 --set finetune.head_rate=0.00025\n"
    for suggestion, text in (
        (Suggestion(0, "fall"), settings + "the middle of the loss's longest fall: rates.png"),
        (
            Suggestion(0, "rise"),
            settings + "a third of where the loss begins to rise; it did not fall before: "
            "rates.png",
        ),
        (None, "no rate suggested: the loss neither fell nor rose; see rates.png"),
    ):
        assert rates_text(FoundRates([step], suggestion, Path("rates.png"))) == text


@pytest.mark.parametrize(
    "options",
    [
        ("--find-rate", "--folds", 3),
        ("--find-rate", "--resume"),
        ("--find-rate", "--refit"),
        ("--find-rate", "--log", "mlflow"),
        ("--folds", 1),
        ("--folds", "many"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(edgetl, data, tmp_path, options) -> None:
    answer = edgetl("finetune", data, "-o", tmp_path / "out", *QUICK, *options)
    assert (answer.code, answer.out) == (2, "")
    assert inside(tmp_path) == []


def test_both_loggers_are_told_of_a_run(edgetl, data, tmp_path, monkeypatch) -> None:
    pytest.importorskip("tensorboard")
    mlflow = pytest.importorskip("mlflow")
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    answer = edgetl(
        "finetune", data, "-o", tmp_path / "run", *QUICK, "--set", "split.val=0.1",
        "--log", "tensorboard", "--log", "mlflow", "--log", "tensorboard",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert len(inside(tmp_path / "run" / "tensorboard")) == 1
    (run,) = mlflow.MlflowClient(store).search_runs(["1"])
    assert run.info.run_name == "run"
    assert {"train_loss", "val_top1", "end/test_top1"} <= set(run.data.metrics)


def test_a_misspelt_logger_is_refused_before_a_picture_is_read(
    edgetl, data, tmp_path, cache
) -> None:
    out = tmp_path / "out"
    answer = edgetl("finetune", data, "-o", out, *QUICK, "--log", "mlflow", "--log", "tensorbord")
    expect_error(
        answer,
        "There is no logger 'tensorbord'.",
        "did you mean 'tensorboard'? The choices are: mlflow, tensorboard.",
    )
    assert not out.exists()
    assert not cache.exists()


def test_the_summary_names_the_parts_there_are_and_the_curves(edgetl, data, tmp_path) -> None:
    run = tmp_path / "tested"
    answer = edgetl("finetune", data, "-o", run, *QUICK)
    assert answer.code == 0, answer.err
    test, calibrated, closing = answer.out.splitlines()
    assert test.startswith("torch float32, test: top-1 ")
    assert re.fullmatch(
        r"temperature [\d.]+, fitted on the test part; calibration error [\d.]+%, cross-fitted: "
        "each picture at a temperature fitted without it",
        calibrated,
    )
    assert re.fullmatch(
        rf"{re.escape(str(run))} made in \d+ s, \d+ pictures/s on [^;]+, curves in "
        rf"{re.escape(str(run / 'curves.png'))}; "
        rf"next: edgetl export {re.escape(str(run))}",
        closing,
    )
    assert (run / "curves.png").is_file()


def test_the_summary_says_where_nothing_was_scored_or_drawn(edgetl, data, tmp_path) -> None:
    run = tmp_path / "run"
    parts = ("--set", "split.test=0")
    answer = edgetl("finetune", data, "-o", run, *QUICK, *parts, "--epochs", 0)
    assert answer.code == 0, answer.err
    scored, calibrated, closing = answer.out.splitlines()
    assert calibrated == (
        "temperature 1: no held-out pictures to fit it to, probabilities are not calibrated"
    )
    assert scored == "no picture was held out to validate or test on: nothing was scored"
    assert re.fullmatch(rf"{run} made in \d+ s; next: edgetl export {run}", closing)


def test_a_run_without_a_validation_part_is_scored_and_exported(
    edgetl, data, unvalidated, tmp_path
) -> None:
    scored = edgetl("evaluate", unvalidated, data, "--json")
    assert scored.code == 0, scored.err
    assert json.loads(scored.out)["images"] == 18
    pytest.importorskip("onnx")
    out = tmp_path / "m.edgetl"
    answer = edgetl("export", unvalidated, "-o", out, "--format", "onnx", "--fp32")
    assert answer.code == 0, answer.err
    (artifact,) = json.loads(edgetl("inspect", out, "--json").out)["artifacts"]
    assert (artifact["measured"]["part"], artifact["measured"]["images"]) == ("test", 3)
