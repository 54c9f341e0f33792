"""Bundles of networks that learned from every picture."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("litert_torch")

from edgetl.bundle.archive import Bundle
from edgetl.bundle.preprocessing import Preprocess
from edgetl.bundle.reports import Interval, Twin
from edgetl.core.errors import GateMissedError
from edgetl.core.schema import to_json
from edgetl.data.folders import Example, read_class_folders
from edgetl.data.split import Parts, describe
from edgetl.workstation.backbones.checkpoint import read_facts, save_facts
from edgetl.workstation.export.export import export
from edgetl.workstation.export.pictures import choose_pictures, read_random_crops
from tests.conftest import Command
from tests.making import PLAIN, inside, write_class_folders

TWIN = Twin(
    run="run",
    top1=0.9167,
    top1_interval=Interval(low=0.75, high=1.0),
    images=12,
    source="test part",
    temperature=1.25,
)


@pytest.fixture(scope="module")
def refit(pictures: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as `--refit` leaves it, of a network that was trained before."""
    run = Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("refitted") / "refit"))
    facts = msgspec.structs.replace(
        read_facts(run), val_top1=None, test_top1=None, training_images=60,
        temperature=1.25, temperature_from="twin", twin=TWIN,
    )  # fmt: skip
    save_facts(run, facts)
    labels, examples = read_class_folders(pictures)
    split = describe(Parts(labels, list(examples), [], []), pictures, [])
    (run / "splits.json").write_text(to_json(split))
    return run


@pytest.fixture(scope="module")
def bundle(refit: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its bundle, ONNX in float and int8."""
    out = tmp_path_factory.mktemp("bundle") / "m.edgetl"
    return export(refit, out, formats=["onnx"], max_drop_pp=100.0)


def test_a_refits_bundle_carries_its_twins_score_and_claims_none_of_its_own(
    bundle: Bundle,
) -> None:
    made = bundle.manifest.provenance
    assert (made.twin, made.torch_top1, made.training_images) == (TWIN, None, 60)
    assert (bundle.manifest.temperature, bundle.manifest.temperature_from) == (1.25, "twin")
    for artifact in bundle.manifest.artifacts:
        measured = artifact.measured
        assert (measured.part, measured.images) == ("train", 24)
        assert measured.top1 is measured.drop_pp is measured.lost is measured.ece is None
        assert artifact.temperature is None
    assert bundle.manifest.artifacts[0].measured.agreement == 1.0
    assert bundle.manifest.artifacts[1].measured.agreement >= 0.75  # of a toy network, unsure


def test_a_refit_is_measured_on_none_of_its_calibration_pictures(
    bundle: Bundle, refit: Path, pictures: Path
) -> None:
    labels, examples = read_class_folders(pictures)
    split = describe(Parts(labels, list(examples), [], []), pictures, [])
    chosen = choose_pictures(split, None, refitted=True)
    assert bundle.manifest.provenance.calibration == chosen.calibration_names()
    assert len(bundle.manifest.provenance.calibration) == 24
    decided = {e.path for e in (*chosen.calibration, *chosen.trial)}
    assert not decided & {e.path for e in chosen.held_out.examples}


def test_a_budget_is_held_against_a_refits_agreement(refit: Path, tmp_path: Path) -> None:
    with pytest.raises(GateMissedError) as caught:
        export(refit, tmp_path / "m.edgetl", formats=["onnx"], schemes=["fp32"], max_drop_pp=-1.0)
    assert str(caught.value) == (
        "Over the budget of -1.0 points of agreement: onnx-fp32 lost 0.00."
    )
    assert inside(tmp_path) == ["m.over-budget.edgetl"]


def test_the_pictures_of_a_folder_take_the_place_of_training_pictures(
    refit: Path, tmp_path: Path
) -> None:
    folder = write_class_folders(tmp_path / "new", 5, first_seed=500)
    made = export(
        refit, tmp_path / "m.edgetl", formats=["onnx"], schemes=["fp32"], calibration=folder
    )
    measured = made.manifest.artifacts[0].measured
    assert (measured.part, measured.images) == ("unlabelled", 6)
    assert made.manifest.provenance.twin == TWIN


def test_export_and_inspect_say_what_to_expect_of_a_refit(
    edgetl: Command, refit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    out = tmp_path / "m.edgetl"
    answer = edgetl("export", refit, "-o", out, "--format", "onnx", "--fp32")
    assert answer.code == 0, answer.err
    expected = (
        "top-1 91.67% (95% interval 75.00 to 100.00) on 12 pictures (test part), measured on "
        "'run': same recipe, these pictures held out"
    )
    assert f"\ncompared with torch alone; expect {expected}\n" in answer.out
    shown = edgetl("inspect", out).out
    assert f"\nexpect      {expected}\n" in shown
    assert "\ntrained on  every one of 60 pictures of 'pictures', 0 for calibration\n" in shown
    assert "\nsoftmax     of logits / 1.25, the temperature, its twin's\n" in shown
    assert "\nmeasured    on 24 randomly cropped training pictures\n" in shown


def test_views_are_random_crops_and_the_same_every_time(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(96, dtype=np.uint8)[:, np.newaxis], (96, 96, 3))
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    examples = [Example(tmp_path / "ramp.png", 0)] * 20
    first, second = (list(read_random_crops(examples, PLAIN)) for _ in range(2))
    assert [example for example, _ in first] == examples
    widths = []
    for (_, one), (_, other) in zip(first, second, strict=True):
        assert (one.shape, one.dtype) == ((32, 32, 3), np.uint8)
        assert (one == other).all()
        widths.append(int(one[0, -1, 0]) - int(one[0, 0, 0]))  # about 93 of the whole picture
    # 51 % of the width is the least: 35 % of the area in a ratio of 3:4.
    assert 45 <= min(widths) < 70
    assert 80 < max(widths) <= 95
    assert len(set(widths)) > 10


def test_a_view_of_an_unreadable_picture_says_why(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    ((example, error),) = read_random_crops([Example(tmp_path / "bad.png", 0)], PLAIN)
    assert example.path.name == "bad.png"
    assert "the file is empty" in str(error)


def test_views_of_the_largest_pictures_stay_within_what_can_be_prepared(pictures: Path) -> None:
    spec = Preprocess(size_px=2048, mean=PLAIN.mean, std=PLAIN.std)
    ((_, pixels),) = read_random_crops([Example(pictures / "slope" / "00.png", 1)], spec)
    assert pixels.shape == (2048, 2048, 3)
