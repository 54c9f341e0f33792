import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import safetensors.torch  # noqa: E402

from edgetl.core.errors import DataError, EdgetlError, WeightsError  # noqa: E402
from edgetl.core.progress import Silent  # noqa: E402
from edgetl.core.schema import to_yaml  # noqa: E402
from edgetl.data.folders import read_class_folders  # noqa: E402
from edgetl.data.split import Parts, read_split, resolve  # noqa: E402
from edgetl.evaluation.accuracy import predict_all  # noqa: E402
from edgetl.evaluation.temperature import (  # noqa: E402
    cross_fit,
    fit_temperature,
    negative_log_likelihood,
)
from edgetl.workstation.backbones.build import build_network  # noqa: E402
from edgetl.workstation.backbones.catalogue import find_backbone  # noqa: E402
from edgetl.workstation.backbones.checkpoint import load_checkpoint, read_facts  # noqa: E402
from edgetl.workstation.recipe import PRESETS, Recipe, load_recipe  # noqa: E402
from edgetl.workstation.run_folder import run_state  # noqa: E402
from edgetl.workstation.torch_model import torch_model  # noqa: E402
from edgetl.workstation.training.finetune import finetune  # noqa: E402
from edgetl.workstation.training.run import train_run as finetune_parts  # noqa: E402
from tests import making  # noqa: E402
from tests.making import Remarks, write_class_folders  # noqa: E402

VALIDATED = "split.val=0.1"


def quick(*more: str) -> Recipe:
    return making.quick(*more, recipe=load_recipe("edge-default"))


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run with a validation part that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    finetune(data, run, quick(VALIDATED))
    return run


def interrupt(data: Path, run: Path, recipe: Recipe, until: str = "epoch 1:") -> None:
    with pytest.raises(KeyboardInterrupt):
        finetune(data, run, recipe, progress=Remarks(until, KeyboardInterrupt()))


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_finished_run_holds_exactly_these_files(whole: Path) -> None:
    assert sorted(path.name for path in whole.iterdir()) == [
        "checkpoint.json",
        "checkpoint.safetensors",
        "curves.png",
        "decisions.json",
        "metrics.jsonl",
        "recipe.yaml",
        "splits.json",
    ]


def test_metrics_have_a_line_for_each_epoch(whole: Path) -> None:
    epochs = lines(whole)
    assert [line["epoch"] for line in epochs] == [1, 2]
    for line in epochs:
        validated = {"val_loss", "val_top1", "val_calibrated_loss"}
        assert set(line) == {"epoch", "train_loss", *validated, "rate", "seconds"}
        assert line["val_calibrated_loss"] <= line["val_loss"]
        assert np.isfinite(list(line.values())).all()
        assert 0 <= line["val_top1"] <= 1
    # Back down at the end of the one-cycle schedule.
    assert epochs[1]["rate"] < epochs[0]["rate"] / 100


def test_the_kept_recipe_is_fully_resolved_and_loads_again(whole: Path) -> None:
    assert load_recipe(str(whole / "recipe.yaml")) == quick(VALIDATED)


def test_a_recipe_without_an_image_size_is_kept_with_the_backbones_own(
    data: Path, tmp_path: Path
) -> None:
    finetune(data, tmp_path / "run", quick("image_size_px=null", "finetune.epochs=0"))
    assert load_recipe(str(tmp_path / "run" / "recipe.yaml")).image_size_px == 224


def test_the_split_names_every_picture_once(whole: Path, data: Path) -> None:
    split = read_split(whole / "splits.json")
    parts = (split.train, split.val, split.test)
    names = sorted(name for part in parts for some in part.values() for name in some)
    assert names == sorted(p.relative_to(data).as_posix() for p in data.rglob("*.png"))
    assert split.labels == ("checks", "slope", "stripes")


def test_the_facts_say_what_was_scored(data: Path, tmp_path: Path) -> None:
    outcome = finetune(data, tmp_path / "run", quick("finetune.epochs=1", VALIDATED))
    assert outcome.test is not None
    assert outcome.checkpoint.val_top1 == outcome.val.top1
    assert outcome.checkpoint.test_top1 == outcome.test.top1
    assert outcome.checkpoint.training_images == 12
    assert (outcome.val.images, outcome.test.images) == (3, 3)
    assert json.loads((tmp_path / "run" / "checkpoint.json").read_text())["backbone"] == (
        "mobilenet_v2"
    )


def test_the_temperature_is_fitted_to_the_kept_networks_answers_on_the_validation_part(
    data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    outcome = finetune(data, run, quick("finetune.epochs=1", "split.val=0.5"))
    network, facts = load_checkpoint(run)
    split = read_split(run / "splits.json")
    answers = predict_all(
        {"it": torch_model(network, facts.preprocess)},
        resolve(split, split.val),
        facts.preprocess,
        Silent(),
        stage="testing",
    )
    assert facts.temperature == outcome.checkpoint.temperature != 1.0
    assert facts.temperature == pytest.approx(
        fit_temperature(answers.truth, answers.logits["it"]), rel=1e-3
    )
    assert outcome.val.temperature == outcome.test.temperature == facts.temperature
    assert outcome.val.nll_after < outcome.val.nll_before


def test_the_same_recipe_gives_the_same_weights(whole: Path, data: Path, tmp_path: Path) -> None:
    finetune(data, tmp_path / "run", quick(VALIDATED))
    again = (tmp_path / "run" / "checkpoint.safetensors").read_bytes()
    assert again == (whole / "checkpoint.safetensors").read_bytes()


def test_another_seed_gives_other_weights(whole: Path, data: Path, tmp_path: Path) -> None:
    finetune(data, tmp_path / "run", quick(VALIDATED, "seed=1"))
    other = (tmp_path / "run" / "checkpoint.safetensors").read_bytes()
    assert other != (whole / "checkpoint.safetensors").read_bytes()


@pytest.mark.parametrize("probe", ["true", "false"])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    data: Path, tmp_path: Path, probe: str
) -> None:
    # Three epochs at a rate that moves the weights, so that the kept epoch lies behind the break.
    recipe = quick(
        f"probe.enabled={probe}",
        "finetune.epochs=3",
        "finetune.backbone_rate=5e-3",
        "finetune.head_rate=5e-3",
    )
    finetune(data, tmp_path / "whole", recipe)
    interrupt(data, tmp_path / "run", recipe)
    finetune(data, tmp_path / "run", recipe, resume=True)
    for name in ("checkpoint.safetensors", "checkpoint.json", "recipe.yaml", "splits.json"):
        resumed, uninterrupted = tmp_path / "run" / name, tmp_path / "whole" / name
        assert resumed.read_bytes() == uninterrupted.read_bytes(), name
    unlike = {"seconds": 0.0}
    assert [line | unlike for line in lines(tmp_path / "run")] == [
        line | unlike for line in lines(tmp_path / "whole")
    ]
    assert not (tmp_path / "run" / "resume.pt").exists()


def test_a_run_that_found_its_number_of_epochs_goes_on_with_it(data: Path, tmp_path: Path) -> None:
    recipe, run = quick("finetune.epochs=auto"), tmp_path / "run"
    interrupt(data, run, recipe)
    begun_with = load_recipe(str(run / "recipe.yaml"))
    assert begun_with.finetune.epochs == (40 if torch.cuda.is_available() else 24)
    finetune(data, run, recipe, resume=True)
    assert load_recipe(str(run / "recipe.yaml")) == begun_with


def test_resumed_epochs_take_the_very_same_steps(data: Path, tmp_path: Path) -> None:
    # The kept checkpoint may be the probe's; the state after the last epoch never is.
    recipe = quick("finetune.epochs=3")
    interrupt(data, tmp_path / "whole", recipe, "epoch 3:")
    interrupt(data, tmp_path / "run", recipe, "epoch 1:")
    with pytest.raises(KeyboardInterrupt):
        finetune(
            data,
            tmp_path / "run",
            recipe,
            resume=True,
            progress=Remarks("epoch 3:", KeyboardInterrupt()),
        )
    one, other = (
        torch.load(tmp_path / name / "resume.pt", weights_only=True)["model"]
        for name in ("run", "whole")
    )
    assert all(torch.equal(one[key], other[key]) for key in other)


MIXED_AND_AVERAGED = (
    "augment=strong", "finetune.ema=0.9", "finetune.schedule=plateau", "finetune.patience=0",
)  # fmt: skip
FROZEN = (
    "augment=strong", "finetune.ema=0.9", "finetune.trainable_blocks=2",
    "finetune.cached_views=2", "finetune.optimizer=sgd",
)  # fmt: skip
THAWING = (
    "finetune.trainable_blocks=1", "finetune.unfreeze_every=1", "finetune.schedule=step",
    "finetune.imbalance=sampling", "finetune.l2sp=0.1",
)  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(MIXED_AND_AVERAGED, id="mixed-and-averaged"),
        pytest.param(FROZEN, id="frozen", marks=pytest.mark.slow),
        pytest.param(THAWING, id="thawing", marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_twice_ends_where_an_uninterrupted_one_does(
    data: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    rates = ("finetune.backbone_rate=5e-3", "finetune.head_rate=5e-3")
    recipe = quick("finetune.epochs=6", *rates, *more)
    finetune(data, tmp_path / "whole", recipe)
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe))

    run = tmp_path / "run"
    process = started(data, run, tmp_path / "recipe.yaml")
    wait_for(process, lambda: epochs_of(run) >= 1)
    kill(process)
    assert 1 <= epochs_of(run) < 6
    assert (run / "checkpoint.json").is_file()

    known = (run / "resume.pt").stat().st_mtime_ns if (run / "resume.pt").is_file() else 0
    process = started(data, run, tmp_path / "recipe.yaml", *resumable(run))
    wait_for(process, lambda: changed(run / "resume.pt", known))
    time.sleep(random.SystemRandom().uniform(0, 0.3))
    kill(process)

    if run_state(run) != "finished":
        finetune(data, run, recipe, resume=True)
    for name in ("checkpoint.safetensors", "checkpoint.json", "recipe.yaml", "splits.json"):
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    unlike = {"seconds": 0.0}
    assert [line["epoch"] for line in lines(run)] == [1, 2, 3, 4, 5, 6]
    assert [line | unlike for line in lines(run)] == [
        line | unlike for line in lines(tmp_path / "whole")
    ]
    assert (run / "curves.png").is_file()
    assert not (run / "resume.pt").exists()


def started(data: Path, run: Path, recipe: Path, *more: str) -> subprocess.Popen:
    """The command as a user calls it."""
    command = [sys.executable, "-m", "edgetl", "finetune", data, "-o", run, "-r", recipe, *more]
    return subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def resumable(run: Path) -> tuple[str, ...]:
    """The first line may have been there before the first state: then nothing is to resume."""
    return ("--resume",) if run_state(run) == "interrupted" else ()


def wait_for(process: subprocess.Popen, there: Callable[[], bool]) -> None:
    begun = time.monotonic()
    while not there() and process.poll() is None:
        assert time.monotonic() - begun < 120
        time.sleep(0.002)


def kill(process: subprocess.Popen) -> None:
    process.kill()  # SIGKILL: nothing is tidied up
    process.wait()


def epochs_of(run: Path) -> int:
    path = run / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.is_file() else 0


def changed(path: Path, known: int) -> bool:
    return path.is_file() and path.stat().st_mtime_ns != known


def test_an_early_stop_stays_one_when_it_is_resumed(data: Path, tmp_path: Path) -> None:
    # At such rates no epoch is better than the probe.
    recipe = quick(
        "finetune.epochs=9", "finetune.stop_after=2", "augment=none", "finetune.ema=0.99",
        "finetune.backbone_rate=1e-20", "finetune.head_rate=1e-20", "finetune.trainable_blocks=0",
        VALIDATED,
    )  # fmt: skip
    run = tmp_path / "run"
    interrupt(data, run, recipe, "stopped: nothing better in 2 epochs")
    assert [line["epoch"] for line in lines(run)] == [1, 2]
    finetune(data, run, recipe, resume=True)
    assert [line["epoch"] for line in lines(run)] == [1, 2]
    assert read_facts(run).finished


@pytest.mark.parametrize("test", [True, False])
def test_a_run_without_a_validation_part_keeps_its_last_epoch(
    data: Path, tmp_path: Path, test: bool
) -> None:
    labels, examples = read_class_folders(data)
    part = Parts(labels, examples[::2], [], examples[1::2] if test else [])
    run = tmp_path / "run"
    outcome = finetune_parts(quick(), part, data, run, Silent())
    facts = json.loads((run / "checkpoint.json").read_text())
    assert facts["val_top1"] is outcome.val is None
    assert (facts["test_top1"] is None) is not test
    assert facts["finished"] is True
    assert [(line["val_loss"], line["val_top1"]) for line in lines(run)] == [(None, None)] * 2
    assert (run / "curves.png").is_file()
    assert read_split(run / "splits.json").val == dict.fromkeys(labels, ())


def test_without_a_validation_part_the_temperature_is_cross_fitted_on_the_test_part(
    data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    outcome = finetune(data, run, quick("split.test=0.5"))
    network, facts = load_checkpoint(run)
    split = read_split(run / "splits.json")
    answers = predict_all(
        {"it": torch_model(network, facts.preprocess)},
        resolve(split, split.test),
        facts.preprocess,
        Silent(),
        stage="",
    )
    logits = answers.logits["it"]
    assert facts.temperature == pytest.approx(
        cross_fit(answers.truth, logits).temperature, rel=1e-3
    )
    assert facts.temperature_from == "test, cross-fitted"
    assert outcome.test.temperature == facts.temperature
    assert outcome.test.temperature_from == "test, cross-fitted"
    crossed = cross_fit(answers.truth, logits).per_picture
    # Nine pictures: the temperatures of the folds are far from the one of all.
    assert outcome.test.nll_after == pytest.approx(
        negative_log_likelihood(answers.truth, logits, crossed), rel=1e-3
    )
    assert outcome.test.nll_after > negative_log_likelihood(
        answers.truth, logits, facts.temperature
    )


def test_with_neither_part_the_temperature_stays_at_one(data: Path, tmp_path: Path) -> None:
    outcome = finetune(data, tmp_path / "run", quick("split.test=0", "finetune.epochs=0"))
    assert (outcome.checkpoint.temperature, outcome.checkpoint.temperature_from) == (1.0, None)
    assert outcome.checkpoint.training_images == 18


def test_a_class_of_one_picture_is_trained_on_and_named_as_untested(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 5)
    for path in sorted((root / "slope").iterdir())[1:]:
        path.unlink()
    remarks = Remarks()
    outcome = finetune(root, tmp_path / "run", quick("finetune.epochs=1"), progress=remarks)
    assert "no picture is left to test these classes on: 'slope'" in remarks.said
    assert [(c.label, c.images, c.recall) for c in outcome.test.per_class if not c.images] == [
        ("slope", 0, 0.0)
    ]
    assert outcome.checkpoint.training_images == 9


def test_stopping_early_needs_a_validation_part(data: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgetlError) as caught:
        finetune(data, tmp_path / "run", quick("finetune.stop_after=2"))
    assert str(caught.value) == "finetune.stop_after needs a validation part, and there is none."
    assert caught.value.hint == (
        "hold pictures out, --set split.val=0.1, or give --val a folder of them; or train to the "
        "end: --set finetune.stop_after=null"
    )
    assert not (tmp_path / "run").exists()


def test_a_logger_is_looked_for_before_anything_is_made(data: Path, tmp_path: Path) -> None:
    labels, examples = read_class_folders(data)
    part = Parts(labels, examples, examples, [])
    with pytest.raises(EdgetlError, match=r"^There is no logger 'tensorbord'\.$"):
        finetune_parts(quick(), part, data, tmp_path / "run", Silent(), loggers=("tensorbord",))
    assert not (tmp_path / "run").exists()


def test_a_logger_hears_the_epochs_and_the_scores_of_the_kept_network(
    data: Path, tmp_path: Path
) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    labels, examples = read_class_folders(data)
    part = Parts(labels, examples[::2], examples[1::2], [])
    run = tmp_path / "run"
    outcome = finetune_parts(quick(), part, data, run, Silent(), loggers=("tensorboard",))
    events = accumulators.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    written = [(line["epoch"], pytest.approx(line["val_top1"])) for line in lines(run)]
    assert [(e.step, e.value) for e in events.Scalars("val_top1")] == written
    assert [e.value for e in events.Scalars("end/val_top1")] == pytest.approx([outcome.val.top1])


def test_a_presets_name_is_kept_as_its_numbers(data: Path, tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(quick("finetune.epochs=0"), augment="strong")
    finetune(data, tmp_path / "run", recipe)
    assert load_recipe(str(tmp_path / "run" / "recipe.yaml")).augment == PRESETS["strong"]
    assert "rand_augment: 9" in (tmp_path / "run" / "recipe.yaml").read_text()


def test_a_finished_run_is_never_trained_over(whole: Path, data: Path) -> None:
    before = (whole / "checkpoint.safetensors").stat().st_mtime_ns
    with pytest.raises(EdgetlError) as caught:
        finetune(data, whole, quick())
    assert str(caught.value) == f"'{whole}' already holds a run."
    assert caught.value.hint == "choose another folder with -o."
    assert (whole / "checkpoint.safetensors").stat().st_mtime_ns == before


def test_an_interrupted_run_is_not_trained_over_but_may_be_resumed(
    data: Path, tmp_path: Path
) -> None:
    interrupt(data, tmp_path / "run", quick())
    with pytest.raises(EdgetlError) as caught:
        finetune(data, tmp_path / "run", quick())
    assert str(caught.value) == f"'{tmp_path / 'run'}' already holds an interrupted run."
    assert caught.value.hint == "choose another folder with -o, or continue it with --resume."


def test_a_run_broken_off_before_its_first_epoch_can_be_started_again(
    data: Path, tmp_path: Path
) -> None:
    recipe = quick("finetune.epochs=0", VALIDATED)
    interrupt(data, tmp_path / "run", recipe, "linear probe")
    finetune(data, tmp_path / "run", recipe)
    assert (tmp_path / "run" / "checkpoint.safetensors").is_file()


def test_another_recipe_cannot_resume_a_run(data: Path, tmp_path: Path) -> None:
    interrupt(data, tmp_path / "run", quick())
    with pytest.raises(EdgetlError) as caught:
        finetune(data, tmp_path / "run", quick("finetune.batch=4"), resume=True)
    assert str(caught.value) == f"'{tmp_path / 'run'}' was begun with another recipe."
    assert caught.value.hint == (
        f"compare '{tmp_path / 'run' / 'recipe.yaml'}', or start a new run in another folder."
    )


def test_where_there_is_nothing_to_resume_it_says_so(data: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgetlError) as caught:
        finetune(data, tmp_path / "run", quick(), resume=True)
    assert str(caught.value) == f"'{tmp_path / 'run'}' has nothing to resume."
    assert caught.value.hint == "leave --resume away to start a new run."


def test_a_finished_run_is_not_resumed(data: Path, whole: Path) -> None:
    with pytest.raises(EdgetlError) as caught:
        finetune(data, whole, quick(), resume=True)
    assert str(caught.value) == f"'{whole}' is a finished run; there is nothing to resume."
    assert caught.value.hint == "to train further, start a new run in another folder with -o."


@pytest.mark.parametrize("content", [b"", b"damaged"])
def test_a_damaged_state_cannot_be_resumed(data: Path, tmp_path: Path, content: bytes) -> None:
    interrupt(data, tmp_path / "run", quick())
    (tmp_path / "run" / "resume.pt").write_bytes(content)
    with pytest.raises(EdgetlError, match=r"resume\.pt' cannot be resumed: "):
        finetune(data, tmp_path / "run", quick(), resume=True)


def test_a_loss_that_is_no_number_says_what_to_lower(data: Path, tmp_path: Path) -> None:
    # Batch norms keep even absurd rates finite here, so one weight is no number from the start.
    state = build_network(find_backbone("mobilenet_v2"), 3).model.state_dict()
    state["features.0.0.weight"][0, 0, 0, 0] = torch.nan
    safetensors.torch.save_file(state, tmp_path / "bad.safetensors")
    recipe = quick(f"weights={tmp_path / 'bad.safetensors'}", "probe.enabled=false")
    with pytest.raises(EdgetlError) as caught:
        finetune(data, tmp_path / "run", recipe)
    assert str(caught.value) == "The loss stopped being a number in epoch 1, step 1."
    assert caught.value.hint.startswith(
        "lower the rates: --set finetune.backbone_rate=1e-4 --set finetune.head_rate=5e-4."
    )


def test_unreadable_pictures_are_set_aside_and_counted(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 6)
    (root / "checks" / "empty.jpg").touch()
    (root / "slope" / "text.png").write_text("no picture")
    outcome = finetune(root, tmp_path / "run", quick("finetune.epochs=0"))
    assert sorted(item.path.name for item in outcome.unreadable) == ["empty.jpg", "text.png"]
    assert any("the file is empty" in item.reason for item in outcome.unreadable)
    split = read_split(tmp_path / "run" / "splits.json")
    assert sorted(split.skipped) == ["checks/empty.jpg", "slope/text.png"]
    parts = (split.train, split.val, split.test)
    kept = [name for part in parts for some in part.values() for name in some]
    assert len(kept) == 18
    assert not set(kept) & set(split.skipped)


def test_a_class_whose_training_pictures_are_all_unreadable_is_named(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 6)
    for path in (root / "slope").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="No training picture of class 'slope' can be read"):
        finetune(root, tmp_path / "run", quick("finetune.epochs=0"))


def test_without_epochs_the_probes_head_stays_on_the_frozen_backbone(
    data: Path, tmp_path: Path
) -> None:
    finetune(data, tmp_path / "run", quick("finetune.epochs=0"))
    torch.manual_seed(0)
    fresh = build_network(find_backbone("mobilenet_v2"), 3).model.state_dict()
    kept = safetensors.torch.load_file(tmp_path / "run" / "checkpoint.safetensors")
    changed = {key for key in kept if not torch.equal(kept[key], fresh[key])}
    assert "classifier.1.weight" in changed
    assert changed <= {"classifier.1.weight", "classifier.1.bias"}


def test_training_starts_from_the_weights_of_a_file(
    whole: Path, data: Path, tmp_path: Path
) -> None:
    given = shutil.copy(whole / "checkpoint.safetensors", tmp_path / "given.safetensors")
    outcome = finetune(
        data, tmp_path / "run", quick(f"weights={given}", "finetune.epochs=0", "seed=9")
    )
    assert outcome.checkpoint.weights == "given.safetensors"
    start = safetensors.torch.load_file(given)
    kept = safetensors.torch.load_file(tmp_path / "run" / "checkpoint.safetensors")
    assert torch.equal(kept["features.0.0.weight"], start["features.0.0.weight"])


def test_weights_of_another_backbone_are_refused_by_name(
    whole: Path, data: Path, tmp_path: Path
) -> None:
    given = whole / "checkpoint.safetensors"
    with pytest.raises(WeightsError, match=r"does not fit: 'conv1\.weight' is missing"):
        finetune(data, tmp_path / "run", quick(f"weights={given}", "backbone=resnet18"))
