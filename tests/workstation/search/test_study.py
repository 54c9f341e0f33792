"""Which trials of a study count, and where a study is kept; no trial is trained here."""

import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("optuna")

import optuna
from optuna.trial import TrialState

from edgetl.core.errors import EdgetlError
from edgetl.workstation.search import storage as storages
from edgetl.workstation.search.storage import Place
from edgetl.workstation.search.study import (
    OWN,
    REASON,
    Identity,
    has_room,
    join,
    place_in_line,
)
from edgetl.workstation.search.trial import Reporter, sampler_for
from edgetl.workstation.training.history import EpochMetrics

IDENTITY = Identity(edgetl="0", data="d", recipe={"seed": 0}, ranges={})
OWN_VALUES = {"x": 0.5}


def joined(path: Path) -> optuna.Study:
    return join(Place(str(path)).open(), "study", IDENTITY, OWN_VALUES)


def states(study: optuna.Study) -> list[TrialState]:
    return [trial.state for trial in study.get_trials(deepcopy=False)]


def test_however_many_begin_at_once_no_more_go_on_than_are_wanted(tmp_path: Path) -> None:
    study = joined(tmp_path / "study.db")
    begun = [study.ask() for _ in range(5)]
    assert begun[0].user_attrs == {OWN: True} and begun[1].user_attrs == {}
    places = [place_in_line(study, trial.number) for trial in begun]
    assert places == [0, 1, 2, 3, 4] and not has_room(study, 5)
    study.tell(begun[1], state=TrialState.FAIL)
    assert has_room(study, 5) and not has_room(study, 4)
    assert place_in_line(study, study.ask().number) == 4
    study.tell(begun[0], state=TrialState.PRUNED)
    study.tell(begun[2], 1.0)
    assert not has_room(study, 5)  # ended trials count, too


def test_a_waiting_trial_is_taken_by_one_process_only(tmp_path: Path) -> None:
    joined(tmp_path / "study.db")
    together, taken = threading.Barrier(4), []

    def take() -> None:
        study = joined(tmp_path / "study.db")
        together.wait()
        taken.append(study.ask().user_attrs.get(OWN, False))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False, False, False, True]
    numbers = [trial.number for trial in joined(tmp_path / "study.db").get_trials()]
    assert numbers == [0, 1, 2, 3]


def test_studies_are_begun_by_one_of_several_at_the_same_time(tmp_path: Path) -> None:
    studies: list[optuna.Study] = []
    threads = [
        threading.Thread(target=lambda: studies.append(joined(tmp_path / "study.db")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(studies) == 4
    assert states(studies[0]) == [TrialState.WAITING]


def test_the_trial_of_a_process_that_died_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storages, "GRACE_S", 1)
    study = joined(tmp_path / "study.db")
    trial = study.ask()
    study._storage.record_heartbeat(trial._trial_id)
    assert not has_room(study, 1)
    time.sleep(2.1)  # SQLite's clock counts whole seconds
    assert has_room(study, 1)
    assert states(study) == [TrialState.FAIL, TrialState.WAITING]
    again = study.ask()
    assert again.user_attrs == {OWN: True} and place_in_line(study, again.number) == 0


def test_a_study_of_another_program_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgetl.workstation.search.study._WAIT_FOR_CREATOR_S", 0.1)
    optuna.create_study(storage=Place(str(tmp_path / "study.db")).open(), study_name="study")
    with pytest.raises(EdgetlError, match="'study' in this storage is not one of edgetl search"):
        joined(tmp_path / "study.db")


def test_every_trial_has_a_seed_of_its_own_that_repeats(tmp_path: Path) -> None:
    def drawn(number: int) -> float:
        study = optuna.create_study(sampler=sampler_for(3, number))
        return study.ask().suggest_float("x", 0, 1)

    assert drawn(1) == drawn(1) != drawn(2)


def at(epoch: int, loss: float) -> EpochMetrics:
    return EpochMetrics(
        epoch=epoch, train_loss=loss, val_loss=loss, val_top1=0.5, val_calibrated_loss=loss,
        rate=0.1, seconds=1.0,
    )  # fmt: skip


def test_from_the_fifth_on_a_trial_ends_halfway_unless_it_is_in_the_better_half(
    tmp_path: Path,
) -> None:
    study = joined(tmp_path / "study.db")
    for loss in (1.0, 2.0, 3.0, 4.0):  # each is worse than those before it
        trial = study.ask()
        for epoch in range(1, 5):
            Reporter(trial, 4).epoch(at(epoch, loss))
        study.tell(trial, loss)
    good, bad = study.ask(), study.ask()
    for epoch in range(1, 5):
        Reporter(good, 4).epoch(at(epoch, 1.5))
    for epoch in range(1, 10):
        Reporter(bad, 20).epoch(at(epoch, 3.5))
    with pytest.raises(optuna.TrialPruned):  # whatever the number of its epochs
        Reporter(bad, 20).epoch(at(10, 3.5))
    assert study.trials[bad.number].user_attrs[REASON].startswith("pruned after epoch 10")
    study.enqueue_trial(OWN_VALUES, user_attrs={OWN: True})
    Reporter(study.ask(), 4).epoch(at(2, 9.0))  # the recipe's own goes on


def test_optuna_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    study = joined(tmp_path / "study.db")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    assert has_room(study, 3)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("storage", "shown"),
    [
        ("postgresql+psycopg://me:s3cret@host/db", "postgresql+psycopg://me:***@host/db"),
        (
            "postgresql+psycopg:///db?host=h&password=s3cret",
            "postgresql+psycopg:///db?host=h&password=***",
        ),
        ("/tmp/study.db", "/tmp/study.db"),
    ],
)
def test_an_address_is_shown_without_its_password(storage: str, shown: str) -> None:
    assert str(Place(storage)) == shown


@pytest.mark.parametrize(
    ("storage", "message", "hint"),
    [
        ("me:s3cret://", "--storage is not a database's URL", "postgresql+psycopg://"),
        ("nosuch://me:s3cret@h/db", "cannot be used", "check --storage"),
        ("mysql+mysqldb://me:s3cret@h/db", "driver that is not installed: MySQLdb", "pip install"),
        ("postgresql+psycopg://me:s3cret@127.0.0.1:9/db", "me:***@127.0.0.1:9/db", "running"),
    ],
)
def test_a_storage_that_cannot_be_used_is_an_error_without_the_password(
    storage: str, message: str, hint: str
) -> None:
    with pytest.raises(EdgetlError) as caught:
        Place(storage).open()
    assert message in str(caught.value) and hint in caught.value.hint
    assert "s3cret" not in str(caught.value) + caught.value.hint
    assert caught.value.__suppress_context__


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("not a database " * 99)
    with pytest.raises(EdgetlError, match=r"study\.db' cannot be used: file is not a database"):
        Place(str(tmp_path / "study.db")).open()
