"""A search on pictures made here: its result, how it is interrupted, joined and refused."""

import json
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("optuna")

import optuna
from click.testing import CliRunner
from PIL import Image

from edgetl.cli.search import command
from edgetl.core.errors import EdgetlError
from edgetl.core.schema import from_json
from edgetl.data.split import read_split
from edgetl.workstation.ranges import Between
from edgetl.workstation.recipe import override
from edgetl.workstation.search.results import Search
from edgetl.workstation.search.search import search
from edgetl.workstation.search.storage import Place
from edgetl.workstation.search.study import has_room
from edgetl.workstation.user_recipe import user_recipe
from tests.making import Remarks, draw, inside, write_class_folders
from tests.workstation.search.making import start, write_recipe

TRIALS = 5


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_class_folders(tmp_path_factory.mktemp("photos"), per_class=8)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipe") / "mine.yaml")


@pytest.fixture(scope="module")
def found(photos: Path, mine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("found") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgetl.workstation.search.trial._UNPRUNED_TRIALS", 1)  # five are few
        run = CliRunner().invoke(
            command, [str(mine), str(photos), "-o", str(out), "--trials", str(TRIALS), "--json"]
        )
    assert run.exception is None, run.output
    assert from_json(run.stdout, Search, where="standard output") == stored(out)
    return out


def stored(out: Path) -> Search:
    return from_json((out / "search.json").read_bytes(), Search, where="search.json")


def test_the_folder_has_the_best_recipe_all_trials_and_a_picture(found: Path, mine: Path) -> None:
    made = stored(found)
    assert [trial.number for trial in made.trials] == [1, 2, 3, 4, 5]
    assert made.counted == TRIALS and made.val_images == 6
    own, best = made.own, made.trial(made.best or 0)
    assert own and own.number == 1 and own.values == {
        "finetune.backbone_rate": 0.05, "augment.min_area": 0.5,
    }  # fmt: skip
    assert best.state == "finished" and best.val_loss is not None and own.val_loss is not None
    assert best.val_loss == min(trial.val_loss or 9 for trial in made.having("finished"))
    assert best.val_loss <= own.val_loss
    given = [f"{key}={value}" for key, value in best.values.items()]
    # The recipe itself, without the validation part that trials had: ready to fine-tune with.
    assert user_recipe(str(found / "recipe.yaml")) == override(user_recipe(str(mine)), given)
    width, height = Image.open(found / "search.png").size
    assert width == 1200 and height == 720


def test_a_trial_that_falls_behind_is_pruned_and_leaves_no_run(found: Path) -> None:
    made = stored(found)
    pruned = made.having("pruned")
    assert pruned
    assert all(trial.reason.startswith("pruned after epoch") for trial in pruned)
    assert not any(trial.own for trial in pruned)
    assert inside(found / "trials") == [str(trial.number) for trial in made.having("finished")]


def test_no_trial_sees_the_test_part(found: Path, photos: Path) -> None:
    for run in (found / "trials").iterdir():
        files = read_split(run / "splits.json")
        assert not any(files.test.values())
        assert sum(map(len, files.val.values())) == 6
        assert sum(map(len, files.train.values())) == 24 - 6 - 6


def test_a_search_that_has_its_trials_only_writes_its_result_again(
    found: Path, photos: Path, mine: Path
) -> None:
    before = stored(found)
    (found / "search.png").unlink()
    run = CliRunner().invoke(
        command, [str(mine), str(photos), "-o", str(found), "--trials", str(TRIALS), "--resume"]
    )
    assert run.exception is None and stored(found) == before
    assert (found / "search.png").is_file()
    lines = run.stdout.splitlines()
    assert lines[-1] == f"next: edgetl finetune {photos} -r {found / 'recipe.yaml'} -o run"
    assert any(line.startswith("1*") for line in lines)
    again = CliRunner().invoke(command, [str(mine), str(photos), "-o", str(found)])
    assert "already holds a search" in str(again.exception)


def test_an_interrupted_search_tries_the_same_values_again_and_goes_on(
    photos: Path, mine: Path, found: Path, tmp_path: Path
) -> None:
    from edgetl.workstation.recipe import load_ranges

    out = tmp_path / "out"
    arguments = {"trials": 2, "ranges": load_ranges(str(mine))}
    recipe = user_recipe(str(mine))
    for interrupted_in in ("trial 1 of 2", "trial 3"):
        broken = Remarks(interrupted_in, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            search(recipe, photos, out, **arguments, resume=out.exists(), progress=broken)
    assert inside(out / "trials") == ["2"]
    made = search(recipe, photos, out, **arguments, resume=True)
    states = [(trial.number, trial.state, trial.own) for trial in made.trials]
    assert states[0] == (1, "failed", True)
    assert states[1] == (2, "finished", True)
    assert states[2] == (3, "failed", False)
    assert states[3][0] == 4 and made.counted == 2
    assert made.trials[0].reason == "interrupted"
    assert made.trials[3].values == made.trials[2].values
    # The recipe's own trial learns the same in every search.
    assert made.trials[1].val_loss == stored(found).trials[0].val_loss


def test_the_trial_of_a_process_that_is_ended_is_put_in_line_once(
    photos: Path, mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgetl.workstation.search.storage.GRACE_S", 1)
    ended = Remarks("trial 1 of 3", SystemExit(143))  # what edgetl makes of SIGTERM
    with pytest.raises(SystemExit):
        search(user_recipe(str(mine)), photos, tmp_path / "out", trials=3, progress=ended)
    study = optuna.load_study(
        study_name="search", storage=Place(str(tmp_path / "out" / "study.db")).open()
    )
    assert [trial.state.name for trial in study.trials] == ["RUNNING"]
    time.sleep(2.1)  # SQLite's clock counts whole seconds
    assert has_room(study, 3)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "WAITING"]


def test_a_study_of_something_else_is_refused(
    found: Path, photos: Path, mine: Path, tmp_path: Path
) -> None:
    recipe, own = user_recipe(str(mine)), stored(found).ranges

    def refused(message: str, *, recipe=recipe, data=photos, ranges=own) -> None:
        out = tmp_path / "out"
        with pytest.raises(EdgetlError) as caught:
            search(recipe, data, out, ranges=ranges, storage=str(found / "study.db"))
        assert message in str(caught.value)
        assert "--study" in caught.value.hint

    refused("another recipe (finetune.batch)", recipe=override(recipe, ["finetune.batch=4"]))
    wider = {**own, "augment.min_area": Between(low=0.3, high=1.0)}
    refused("other ranges (augment.min_area.high, augment.min_area.step)", ranges=wider)
    other = write_class_folders(tmp_path / "other", per_class=8)
    draw("slope", 99, width=99).save(other / "slope" / "00.png")
    refused("other pictures", data=other)


def test_a_folder_of_something_else_is_left_alone(photos: Path, mine: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("a run's")
    with pytest.raises(EdgetlError, match="is not empty"):
        search(user_recipe(str(mine)), photos, tmp_path, resume=True)
    assert inside(tmp_path) == ["recipe.yaml"]


@pytest.mark.slow
def test_two_processes_share_the_trials_of_a_study(
    photos: Path, mine: Path, tmp_path: Path
) -> None:
    outs = [tmp_path / "one", tmp_path / "two"]
    shared = ["--storage", tmp_path / "study.db", "--trials", 4]
    processes = [start(mine, photos, "-o", out, *shared) for out in outs]
    for process in processes:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    made = stored(outs[0])
    assert made == stored(outs[1])  # who is done first waits for the other
    assert made.counted == 4 and len(made.trials) == 4
    assert [trial.own for trial in made.trials].count(True) == 1
    assert len({json.dumps(trial.values) for trial in made.trials}) == 4
    runs = [set(inside(out / "trials")) for out in outs if (out / "trials").is_dir()]
    assert sorted(set.union(*runs)) == [str(trial.number) for trial in made.having("finished")]
    assert sum(map(len, runs)) == len(set.union(*runs))
