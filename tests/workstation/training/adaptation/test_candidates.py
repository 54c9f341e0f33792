"""`finetune --adapt`, from folders to the run that was chosen."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

torch = pytest.importorskip("torch")

from edgetl.cli.finetune_text import adaptation_text  # noqa: E402
from edgetl.core.errors import DataError, EdgetlError, SchemaError  # noqa: E402
from edgetl.data.split import read_split  # noqa: E402
from edgetl.workstation.backbones.checkpoint import load_checkpoint, read_facts  # noqa: E402
from edgetl.workstation.recipe import Recipe  # noqa: E402
from edgetl.workstation.report.report import report as write_report  # noqa: E402
from edgetl.workstation.run_folder import CANDIDATES_FOLDER, adaptation_state  # noqa: E402
from edgetl.workstation.training.adaptation import candidates  # noqa: E402
from edgetl.workstation.training.adaptation.record import read_adaptation  # noqa: E402
from edgetl.workstation.training.finetune import finetune  # noqa: E402
from edgetl.workstation.user_recipe import user_recipe  # noqa: E402
from tests.making import KINDS, draw, quick, write_class_folders  # noqa: E402


def small(*more: str) -> Recipe:
    return quick("backbone=timm:test_resnet", "finetune.epochs=1", *more)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Eighteen dark pictures without labels."""
    (tmp_path / "place").mkdir()
    for number in range(18):
        picture = draw(KINDS[number % 3], 300 + number).point(lambda value: value // 4)
        picture.save(tmp_path / f"place/{number}.png")
    return tmp_path / "place"


def test_the_plain_network_stands_beside_the_adapted_ones_and_one_is_the_run(
    data: Path, place: Path, tmp_path: Path
) -> None:
    check = write_class_folders(tmp_path / "check", 2, KINDS, first_seed=900)
    run = tmp_path / "run"
    outcome = finetune(data, run, small(), adapt=place, adapt_check=check)
    report = read_adaptation(run)
    assert report == outcome.adaptation
    assert [each.name for each in report.candidates] == [
        "plain", "batch-norm", "coral", "adversarial"
    ]  # fmt: skip
    best = max(report.candidates, key=lambda each: each.information)
    assert report.picked == best.name
    assert not report.held_apart
    assert all(each.target_top1 is not None for each in report.candidates)
    chosen = read_facts(run / CANDIDATES_FOLDER / report.picked)
    assert read_facts(run) == chosen
    assert adaptation_state(run) == "finished"
    for each in report.candidates:
        split = read_split(run / CANDIDATES_FOLDER / each.name / "splits.json")
        learned = {source: len(names) for source, names in split.unlabelled.items()}
        assert learned == ({} if each.name == "plain" else {str(place): 18})
    text = adaptation_text(report)
    assert f"{report.picked} (picked)" in text
    assert "95% interval" in text
    page = write_report([run], tmp_path / "report.html", benchmark=False, corruptions=False)
    assert "Adapted to another place" in page.read_text()


def test_batch_norm_changes_nothing_but_statistics(data: Path, place: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    finetune(data, run, small("adapt.method=batch-norm"), adapt=place)
    plain, adapted = (
        load_checkpoint(run / CANDIDATES_FOLDER / name)[0].model.state_dict()
        for name in ("plain", "batch-norm")
    )
    changed = {name for name in plain if not torch.equal(plain[name], adapted[name])}
    assert changed
    assert all(name.rpartition(".")[2].startswith(("running_", "num_")) for name in changed)


def test_an_interrupted_adaptation_goes_on_with_what_is_missing(
    data: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    train, trained = candidates.train_run, []

    def until(stop: str) -> Callable[..., object]:
        def train_or_stop(recipe: Recipe, parts: object, base: Path, out: Path, *more, **options):
            if out.name == stop:
                raise KeyboardInterrupt
            trained.append(out.name)
            return train(recipe, parts, base, out, *more, **options)

        return train_or_stop

    monkeypatch.setattr(candidates, "train_run", until("adversarial"))
    with pytest.raises(KeyboardInterrupt):
        finetune(data, run, small(), adapt=place)
    assert adaptation_state(run) == "interrupted"
    with pytest.raises(EdgetlError, match="interrupted run"):
        finetune(data, run, small(), adapt=place)
    monkeypatch.setattr(candidates, "train_run", until(""))
    with pytest.raises(EdgetlError, match="another recipe"):
        finetune(data, run, small("seed=1"), adapt=place, resume=True)
    finetune(data, run, small(), adapt=place, resume=True)
    assert trained == ["plain", "coral", "adversarial"]
    assert adaptation_state(run) == "finished"


def test_what_is_half_done_does_not_count_as_finished(
    data: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, wanted = tmp_path / "run", small("adapt.method=batch-norm")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    for place_of_stop in ("measure", "write_text", "save_facts"):
        with monkeypatch.context() as stopped:
            stopped.setattr(candidates, place_of_stop, stop)
            with pytest.raises(KeyboardInterrupt):
                finetune(data, run, wanted, adapt=place, resume=run.exists())
        assert adaptation_state(run) == "interrupted"
    finetune(data, run, wanted, adapt=place, resume=True)
    assert adaptation_state(run) == "finished"
    plain, adapted = (
        load_checkpoint(run / CANDIDATES_FOLDER / name)[0].model.state_dict()
        for name in ("plain", "batch-norm")
    )
    assert any(not torch.equal(plain[name], adapted[name]) for name in plain)


def test_without_epochs_only_the_statistics_are_adapted(
    data: Path, place: Path, tmp_path: Path
) -> None:
    outcome = finetune(data, tmp_path / "run", small("finetune.epochs=0"), adapt=place)
    assert outcome.adaptation is not None
    assert [each.name for each in outcome.adaptation.candidates] == ["plain", "batch-norm"]
    with pytest.raises(EdgetlError, match="no epochs"):
        wanted = small("finetune.epochs=0", "adapt.method=coral")
        finetune(data, tmp_path / "other", wanted, adapt=place)


def test_unusable_pictures_are_refused_before_training(
    data: Path, place: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        finetune(data, run, small(), adapt=tmp_path / "empty")
    with pytest.raises(DataError, match=r"also validation or test pictures.*"):
        finetune(data, run, small(), adapt=data)
    check = write_class_folders(tmp_path / "check", 1, KINDS, first_seed=900)
    (check / KINDS[0] / "leak.png").write_bytes((place / "0.png").read_bytes())
    with pytest.raises(DataError, match="also among those adapted to"):
        finetune(data, run, small(), adapt=place, adapt_check=check)
    for number in range(3, 18):
        (place / f"{number}.png").unlink()
    with pytest.raises(DataError, match="3 pictures to adapt to"):
        finetune(data, run, small(), adapt=place)
    assert not run.exists()


def test_settings_of_adaptation_need_pictures_to_adapt_to() -> None:
    with pytest.raises(SchemaError, match=r"adapt.method has no effect here.*--adapt"):
        user_recipe("edge-fast", ["adapt.method=coral"])
    adapted = user_recipe("edge-fast", ["adapt.method=coral"], adapts=True)
    assert adapted.adapt.method == "coral"
    with pytest.raises(SchemaError, match=r"adapt.weight has no effect"):
        user_recipe("edge-fast", ["adapt.method=batch-norm", "adapt.weight=2"], adapts=True)
    assert msgspec.structs.replace(adapted.adapt, method="auto") == Recipe().adapt
