"""Fine-tuning under a teacher, from its folder or weights file to the bundle."""

import shutil
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("torch")

import safetensors.torch
import timm

from edgetl.core.errors import DataError, EdgetlError, WeightsError
from edgetl.core.files import cache_folder, sha256_of
from edgetl.data.split import read_split
from edgetl.workstation.backbones.checkpoint import TENSORS_FILE, read_facts, save_facts
from edgetl.workstation.export.export import export
from edgetl.workstation.recipe import Recipe
from edgetl.workstation.training.decisions import read_decisions
from edgetl.workstation.training.finetune import finetune
from edgetl.workstation.training.refit import finetune_and_refit
from edgetl.workstation.training.teaching import probe
from edgetl.workstation.training.teaching.request import Teaching
from tests.making import KINDS, Remarks, draw, quick, write_class_folders

NAME = "timm:test_resnet"


def small(*more: str) -> Recipe:
    return quick(f"backbone={NAME}", *more)


@pytest.fixture(scope="module")
def teacher(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teacher") / "large"
    finetune(data, out, small("finetune.epochs=1"))
    return out


@pytest.fixture
def field(tmp_path: Path) -> Path:
    """Seven pictures without labels."""
    (tmp_path / "field").mkdir()
    for number in range(7):
        draw(KINDS[number % 3], 200 + number).save(tmp_path / f"field/{number}.png")
    return tmp_path / "field"


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small vision transformer, which nobody trained."""
    path = tmp_path_factory.mktemp("vit") / "vit.safetensors"
    safetensors.torch.save_file(timm.create_model("test_vit").state_dict(), path)
    return path


def relabelled(teacher: Path, out: Path, labels: tuple[str, ...]) -> Path:
    """A copy of a run whose outputs have other labels."""
    shutil.copytree(teacher, out)
    save_facts(out, msgspec.structs.replace(read_facts(out), labels=labels))
    return out


def test_a_run_and_its_bundle_say_who_taught_them_on_what(
    data: Path, teacher: Path, field: Path, tmp_path: Path
) -> None:
    outcome = finetune(data, tmp_path / "run", small(), teacher=teacher, unlabelled=[field])
    facts = read_facts(tmp_path / "run").teacher
    assert facts is not None
    assert (facts.source, facts.backbone) == (str(teacher), NAME)
    assert facts.sha256 == sha256_of(teacher / TENSORS_FILE)
    assert facts.top1 == read_facts(teacher).test_top1
    decided = {each.name: each for each in read_decisions(tmp_path / "run")}
    assert facts.sha256 in decided["teacher"].why
    assert decided["pictures without labels"].value == "7"
    assert len(read_split(tmp_path / "run/splits.json").unlabelled[str(field)]) == 7
    labelled = sum(map(len, read_split(tmp_path / "run/splits.json").train.values()))
    assert outcome.checkpoint.training_images == labelled
    bundle = export(tmp_path / "run", tmp_path / "m.edgetl", formats=["onnx"], schemes=["fp32"])
    provenance = bundle.manifest.provenance
    assert provenance.teacher == msgspec.structs.replace(facts, source="large")
    assert provenance.unlabelled == {"field": 7}


def test_a_resumed_run_keeps_its_teacher_and_ends_as_an_uninterrupted_one(
    data: Path, teacher: Path, field: Path, tmp_path: Path
) -> None:
    given = {"teacher": teacher, "unlabelled": [field]}
    whole = finetune(data, tmp_path / "whole", small(), **given)
    cut = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        finetune(data, cut, small(), progress=Remarks("epoch 1:", KeyboardInterrupt()), **given)
    with pytest.raises(EdgetlError, match="begun with another teacher") as error:
        finetune(data, cut, small(), resume=True, teacher=tmp_path / "whole", unlabelled=[field])
    assert f"--teacher {teacher}" in (error.value.hint or "")
    with pytest.raises(EdgetlError, match="begun with other folders of --unlabelled"):
        finetune(data, cut, small(), resume=True, teacher=teacher)
    resumed = finetune(data, cut, small(), resume=True, **given)
    assert resumed.checkpoint.sha256 == whole.checkpoint.sha256


def test_a_run_without_a_teacher_is_not_resumed_with_one(
    data: Path, teacher: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        finetune(data, out, small(), progress=Remarks("epoch 1:", KeyboardInterrupt()))
    with pytest.raises(EdgetlError, match="begun without a teacher"):
        finetune(data, out, small(), resume=True, teacher=teacher)


def test_other_labels_and_another_order_are_refused(
    data: Path, teacher: Path, tmp_path: Path
) -> None:
    turned = relabelled(teacher, tmp_path / "turned", ("slope", "checks", "stripes"))
    with pytest.raises(EdgetlError, match="label 1 is 'slope', here it is 'checks'"):
        finetune(data, tmp_path / "run", small(), teacher=turned)
    foreign = relabelled(teacher, tmp_path / "foreign", ("checks", "dots", "slope"))
    with pytest.raises(EdgetlError, match="only the teacher has 'dots'; only the data have 'str"):
        finetune(data, tmp_path / "run", small(), teacher=foreign)
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_knows_the_held_out_pictures_is_refused(
    data: Path, teacher: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"was trained on \d of the 3 validation and test") as error:
        finetune(data, tmp_path / "run", small("seed=1"), teacher=teacher)
    assert "--seed" in (error.value.hint or "")
    moved = tmp_path / "moved"
    shutil.copytree(data, moved)
    with pytest.raises(DataError, match="was trained on"):
        finetune(moved, tmp_path / "run", small("seed=1"), teacher=teacher)


def test_a_teacher_whose_pictures_are_gone_is_compared_by_their_paths(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "there", 4)
    finetune(data, tmp_path / "teacher", small("finetune.epochs=1"))
    shutil.move(data, tmp_path / "here")
    with pytest.raises(DataError, match="was trained on"):
        finetune(tmp_path / "here", tmp_path / "run", small("seed=1"), teacher=tmp_path / "teacher")


def test_a_probed_teacher_runs_once_over_the_pictures(
    data: Path, vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"teacher": vit, "teacher_backbone": "timm:test_vit"}
    first = finetune(data, tmp_path / "first", small(), **given)
    facts = first.checkpoint.teacher
    assert facts is not None
    assert (facts.probed, facts.sha256) == (True, sha256_of(vit))
    assert facts.top1 is not None
    assert len(list((cache_folder() / "features").iterdir())) == 1

    def run_again(*_: object) -> None:
        raise AssertionError("the features are in the cache")

    monkeypatch.setattr(probe, "cached_features", run_again)
    second = finetune(data, tmp_path / "second", small(), **given)
    assert second.checkpoint.sha256 == first.checkpoint.sha256
    assert second.checkpoint.teacher == facts


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"teacher": "missing"}, "'missing' does not exist"),
        ({"teacher": "vit.pth"}, "is no run folder"),
        ({"teacher": "vit.pth", "teacher_backbone": "resnet18"}, "cannot be read as weights"),
        ({"teacher_backbone": "resnet"}, "There is no backbone 'resnet'"),
        ({"unlabelled": ["field"]}, "--unlabelled needs a teacher"),
    ],
)
def test_what_cannot_teach_is_named(
    data: Path,
    field: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: dict,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("vit.pth").write_bytes(b"not weights")
    with pytest.raises((EdgetlError, WeightsError), match=message) as error:
        finetune(data, tmp_path / "run", small(), **given)
    assert error.value.hint
    assert not (tmp_path / "run").exists()


def test_an_unfinished_teacher_and_a_student_that_takes_no_step_are_refused(
    data: Path, teacher: Path, tmp_path: Path
) -> None:
    half = tmp_path / "half"
    shutil.copytree(teacher, half)
    save_facts(half, msgspec.structs.replace(read_facts(half), finished=False))
    with pytest.raises(EdgetlError, match="is not finished"):
        finetune(data, tmp_path / "run", small(), teacher=half)
    with pytest.raises(EdgetlError, match="linear probe alone"):
        finetune(data, tmp_path / "run", small("finetune.epochs=0"), teacher=teacher)
    with pytest.raises(EdgetlError, match="knows its backbone"):
        finetune(data, tmp_path / "run", small(), teacher=teacher, teacher_backbone="resnet18")


def test_a_frozen_front_sees_pictures(data: Path, teacher: Path, tmp_path: Path) -> None:
    said = Remarks()
    finetune(
        data, tmp_path / "run", small("finetune.trainable_blocks=2"), teacher=teacher, progress=said
    )
    assert "the frozen part runs in every step: no activations are cached" in said.said


def test_a_refit_is_taught_too(data: Path, teacher: Path, field: Path, tmp_path: Path) -> None:
    teaching = Teaching(teacher, None, (field,))
    recipe, out = small("finetune.epochs=1"), tmp_path / "run"
    refitted = finetune_and_refit(data, out, recipe, teaching=teaching)
    facts = refitted.outcome.checkpoint.teacher
    assert facts is not None
    assert facts == read_facts(out).teacher
    assert read_split(out / "refit/splits.json").unlabelled
    shutil.rmtree(out / "refit")
    with pytest.raises(EdgetlError, match="begun with another teacher"):
        finetune_and_refit(data, out, recipe, teaching=Teaching(out, None, (field,)))
