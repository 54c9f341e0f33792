import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("litert_torch")

from edgetl import __version__, evaluate
from edgetl.bundle.archive import Bundle
from edgetl.core.errors import DataError, EdgetlError, GateMissedError
from edgetl.core.progress import Silent
from edgetl.data.folders import read_class_folders
from edgetl.data.split import Parts, read_split, resolve
from edgetl.evaluation.temperature import cross_fit, expected_calibration_error
from edgetl.runtime.classifier import Classifier
from edgetl.runtime.preprocess import load_pixels
from edgetl.runtime.softmax import softmax
from edgetl.workstation.backbones.checkpoint import read_facts, save_facts
from edgetl.workstation.export.export import export
from edgetl.workstation.export.int8 import distillation as tune
from edgetl.workstation.recipe import load_recipe, override
from edgetl.workstation.training.run import train_run
from tests.making import Remarks, inside, write_class_folders
from tests.tiny import NETWORK, TINY

ARTIFACTS = [
    "onnx-fp32",
    "onnx-int8",
    "openvino-fp32",
    "openvino-int8",
    "tflite-fp32",
    "tflite-int8",
]


def test_a_bundle_holds_every_format_in_fp32_and_int8(tiny: Bundle) -> None:
    assert [artifact.name for artifact in tiny.manifest.artifacts] == ARTIFACTS
    for artifact in tiny.manifest.artifacts:
        assert artifact.input.shape == (1, 32, 32, 3)
        assert artifact.output.shape == (1, 3)
        assert len(artifact.files) == (2 if artifact.format == "openvino" else 1)
    assert tiny.manifest.labels == ("checks", "slope", "stripes")


def test_int8_is_smaller_than_fp32(tiny: Bundle) -> None:
    """Without OpenVINO's .xml, which in so small a network takes more than the weights."""
    for kind in ("onnx", "openvino", "tflite"):
        artifacts = (tiny.artifact(f"{kind}-{scheme}") for scheme in ("int8", "fp32"))
        int8, fp32 = (
            sum(
                len(content)
                for member, content in zip(artifact.files, tiny.files(artifact), strict=True)
                if not member.name.endswith(".xml")
            )
            for artifact in artifacts
        )
        assert int8 < 0.5 * fp32


def test_every_artifact_was_measured_on_the_test_part(tiny: Bundle) -> None:
    torch_top1 = tiny.manifest.provenance.torch_top1
    assert torch_top1 is not None
    for artifact in tiny.manifest.artifacts:
        measured = artifact.measured
        assert measured is not None
        assert (measured.images, measured.part) == (12, "test")
        assert measured.drop_pp == pytest.approx(100 * (torch_top1 - measured.top1), abs=1e-3)
        if artifact.scheme == "fp32":
            assert (measured.drop_pp, measured.agreement) == (0.0, 1.0)


def test_every_int8_artifact_says_how_it_was_come_by(tiny: Bundle) -> None:
    for artifact in tiny.manifest.artifacts:
        if artifact.scheme == "fp32":
            assert (artifact.attempts, artifact.int8_macs) == ((), None)
            continue
        assert [attempt.name for attempt in artifact.attempts] == ["ranges"]
        assert artifact.attempts[0].images == 6  # the validation part
        assert artifact.attempts[0].expected_drop_pp <= 0.25
        assert artifact.int8_macs == 1.0
        measured = artifact.measured
        assert measured
        assert measured.lost is not None
        assert measured.won is not None
        flipped = measured.lost - measured.won
        assert measured.drop_pp == pytest.approx(100 * flipped / 12, abs=1e-4)  # as rounded
        assert measured.expected_drop_pp is not None
        assert measured.expected_drop_pp >= 0
        assert measured.drop_interval_pp
        assert measured.drop_interval_pp.low <= measured.drop_pp <= measured.drop_interval_pp.high


def test_the_bundle_lists_its_calibration_pictures_none_of_which_was_measured_on(
    tiny: Bundle, tiny_run: Path
) -> None:
    split = read_split(tiny_run / "splits.json")
    names = set(tiny.manifest.provenance.calibration)
    assert names == {name for part in split.train.values() for name in part}
    assert not names & {name for part in split.test.values() for name in part}


def test_a_budget_no_way_to_int8_meets_is_missed_and_what_costs_most_is_named(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "STEPS_TAKEN", 2)
    with pytest.raises(GateMissedError) as caught:
        export(
            tiny_run, tmp_path / "m.edgetl",
            formats=["onnx"], schemes=["int8"], calibration=None, max_drop_pp=-100.0,
        )  # fmt: skip
    assert "Over the budget of -100.0 points of top-1: onnx-int8" in str(caught.value)
    assert " Int8 costs most in " in str(caught.value)
    assert inside(tmp_path) == ["m.layers.png", "m.over-budget.edgetl"]
    manifest = Bundle(tmp_path / "m.over-budget.edgetl").manifest
    (artifact,) = manifest.artifacts
    names = [attempt.name for attempt in artifact.attempts]
    assert names in (["ranges"], ["ranges", "tuned", *(f"float-{2**k}" for k in range(5))])
    assert [s.snr_db for s in manifest.sensitivities] == sorted(
        s.snr_db for s in manifest.sensitivities
    )


def test_the_bundle_keeps_the_runs_recipe(tiny: Bundle, tiny_run: Path) -> None:
    assert tiny.recipe_text() == (tiny_run / "recipe.yaml").read_text()
    assert load_recipe(str(tiny_run / "recipe.yaml")) == override(load_recipe("edge-default"), TINY)


def test_the_bundle_says_where_it_comes_from(tiny: Bundle) -> None:
    made = tiny.manifest.provenance
    assert made.edgetl == __version__
    assert (made.backbone, made.weights, made.data) == (NETWORK, "none", "pictures")
    assert (made.training_images, made.calibration_images) == (42, 42)
    assert {"torch", "onnxruntime", "openvino", "ai-edge-litert"} <= set(made.versions)


def test_a_run_and_its_fp32_artifacts_score_the_same(
    tiny_run: Path, tiny_bundle: Path, pictures: Path
) -> None:
    by_torch = evaluate(tiny_run, pictures)
    assert by_torch.subject == f"{NETWORK} through torch"
    assert (by_torch.images, by_torch.skipped) == (60, 0)
    for name in ("onnx-fp32", "openvino-fp32", "tflite-fp32"):
        report = evaluate(tiny_bundle, pictures, artifact=name)
        assert report.confusion == by_torch.confusion
        assert report.subject.startswith(f"{name} through ")


def test_a_runs_temperature_reaches_the_bundle_its_answers_and_their_report(
    tiny_run: Path, tmp_path: Path, pictures: Path
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    facts = msgspec.structs.replace(read_facts(run), temperature=2.5)
    save_facts(run, facts)
    bundle = export(run, tmp_path / "m.edgetl", formats=["onnx"], schemes=["fp32"])
    classifier = Classifier(bundle)
    answer = classifier(pictures / "slope" / "00.png", top=3)
    logits = classifier.logits(load_pixels(pictures / "slope" / "00.png", facts.preprocess))
    assert bundle.manifest.temperature == 2.5
    assert [s.probability for s in answer.top] == sorted(softmax(logits, 2.5).tolist())[::-1]

    by_torch, by_engine = evaluate(run, pictures), evaluate(tmp_path / "m.edgetl", pictures)
    assert by_torch.temperature == by_engine.temperature == 2.5
    assert by_torch.nll_after != by_torch.nll_before
    for name in ("ece_before", "ece_after", "nll_before", "nll_after"):
        assert getattr(by_engine, name) == pytest.approx(getattr(by_torch, name), abs=1e-4)
    assert by_engine.top1_interval == by_torch.top1_interval


def test_calibration_errors_are_cross_fitted_on_the_test_part(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "STEPS_TAKEN", 2)
    run, out = run_of(pictures, tmp_path / "run", test=True), tmp_path / "m.edgetl"
    manifest = export(run, out, formats=["onnx"], max_drop_pp=100.0).manifest
    facts, split = read_facts(run), read_split(run / "splits.json")
    assert manifest.artifacts[1].attempts[0].images == 4  # a third of the training pictures
    truth = np.array([example.label for example in resolve(split, split.test)])
    logits = {
        artifact.name: np.stack(
            [
                Classifier(out, artifact=artifact.name).logits(
                    load_pixels(e.path, facts.preprocess)
                )
                for e in resolve(split, split.test)
            ]
        )
        for artifact in manifest.artifacts
    }
    floating, whole = manifest.artifacts
    assert (floating.temperature, floating.measured.temperature_from) == (
        None,
        "test, cross-fitted",
    )
    fitted = cross_fit(truth, logits["onnx-int8"]).temperature
    assert whole.temperature == pytest.approx(fitted, rel=1e-3)
    crossed = {name: cross_fit(truth, said).per_picture for name, said in logits.items()}
    for artifact in manifest.artifacts:
        assert artifact.measured.ece == pytest.approx(
            expected_calibration_error(truth, logits[artifact.name], crossed[artifact.name]),
            abs=1e-4,
        )
    assert floating.measured.torch_ece == pytest.approx(floating.measured.ece, abs=1e-4)
    assert whole.measured.torch_ece == floating.measured.torch_ece


def test_with_a_validation_part_int8_is_tried_and_calibrated_on_it(
    pictures: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    labels, examples = read_class_folders(pictures)
    parts = Parts(labels, examples[::5], examples[1::5], examples[2::5])
    recipe = override(load_recipe("edge-default"), [*TINY, "finetune.epochs=1", "probe.steps=5"])
    train_run(recipe, parts, pictures, run, Silent())
    out = tmp_path / "m.edgetl"
    manifest = export(run, out, formats=["onnx"], schemes=["int8"], max_drop_pp=100.0).manifest
    (artifact,) = manifest.artifacts
    assert artifact.attempts[0].images == 12
    assert artifact.measured.temperature_from == manifest.temperature_from == "validation"
    assert artifact.temperature is not None


def test_evaluation_goes_by_labels_and_counts_unreadable_pictures(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    root = write_class_folders(tmp_path / "data", 3, ("stripes", "slope"))
    (root / "slope" / "00.png").write_bytes(b"")
    report = evaluate(tiny_bundle, root)
    assert (report.images, report.skipped) == (5, 1)
    assert [score.images for score in report.per_class] == [0, 2, 3]


def test_over_budget_nothing_is_written_under_the_asked_name(
    tiny_run: Path, tmp_path: Path
) -> None:
    # A negative budget asks for more than the torch model has, which fp32 never gives.
    with pytest.raises(GateMissedError) as caught:
        export(
            tiny_run,
            tmp_path / "m.edgetl",
            formats=["onnx"],
            schemes=["fp32"],
            max_drop_pp=-1.0,
        )
    assert str(caught.value) == "Over the budget of -1.0 points of top-1: onnx-fp32 lost 0.00."
    assert caught.value.exit_code == 3
    assert inside(tmp_path) == ["m.over-budget.edgetl"]
    assert [a.name for a in Bundle(tmp_path / "m.over-budget.edgetl").manifest.artifacts] == [
        "onnx-fp32"
    ]


def test_a_scheme_no_wanted_format_has_is_an_error(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgetlError) as caught:
        export(tiny_run, tmp_path / "m.edgetl", formats=["onnx"], schemes=["fp16"])
    assert str(caught.value) == "None of onnx comes in fp16."
    assert inside(tmp_path) == []


def test_calibration_pictures_may_come_from_a_folder(
    tiny_run: Path, tmp_path: Path, pictures: Path
) -> None:
    bundle = export(
        tiny_run,
        tmp_path / "m.edgetl",
        formats=["onnx"],
        schemes=["int8"],
        calibration=pictures / "slope",
        max_drop_pp=100.0,
    )
    assert bundle.manifest.provenance.calibration_images == 20
    assert [artifact.name for artifact in bundle.manifest.artifacts] == ["onnx-int8"]


def test_without_int8_no_picture_is_used_for_calibration_and_none_is_claimed(
    tiny_run: Path, tmp_path: Path
) -> None:
    bundle = export(tiny_run, tmp_path / "m.edgetl", formats=["onnx"], schemes=["fp32"])
    assert bundle.manifest.provenance.calibration_images == 0
    assert [artifact.name for artifact in bundle.manifest.artifacts] == ["onnx-fp32"]


@pytest.mark.parametrize(("format_", "reduced"), [("openvino", True), ("onnx", False)])
def test_weights_have_seven_bits_where_openvino_could_not_be_measured_with_eight(
    format_: str,
    reduced: bool,
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgetl.runtime.processor.int8_may_saturate", lambda: True)
    remarks = Remarks()
    out = tmp_path / "m.edgetl"
    bundle = export(tiny_run, out, formats=[format_], schemes=["int8"], progress=remarks)
    assert [a.reduced_range for a in bundle.manifest.artifacts] == [reduced]
    assert (
        any(
            said.startswith("int8 weights have 7 bits, or 'openvino' could not")
            for said in remarks.said
        )
        is reduced
    )


def test_a_calibration_folder_without_pictures_says_so(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError) as caught:
        export(tiny_run, tmp_path / "m.edgetl", formats=["onnx"], calibration=tmp_path / "none")
    assert str(caught.value) == f"'{tmp_path / 'none'}' holds no picture to choose int8 ranges by."


def run_of(pictures: Path, run: Path, *, test: bool) -> Path:
    """A run of a minute part of the pictures, without a validation part."""
    labels, examples = read_class_folders(pictures)
    parts = Parts(labels, examples[::5], [], examples[1::5] if test else [])
    recipe = override(load_recipe("edge-default"), [*TINY, "finetune.epochs=1", "probe.steps=5"])
    train_run(recipe, parts, pictures, run, Silent())
    return run


def test_a_run_without_a_validation_part_is_measured_on_its_test_part(
    pictures: Path, tmp_path: Path
) -> None:
    run = run_of(pictures, tmp_path / "run", test=True)
    bundle = export(run, tmp_path / "m.edgetl", formats=["onnx"], schemes=["fp32"])
    measured = bundle.manifest.artifacts[0].measured
    assert (measured.images, measured.part) == (12, "test")
    assert bundle.manifest.temperature == read_facts(run).temperature
    assert bundle.manifest.temperature_from == "test, cross-fitted"


def test_a_run_that_kept_no_pictures_back_is_not_exported(pictures: Path, tmp_path: Path) -> None:
    run = run_of(pictures, tmp_path / "run", test=False)
    with pytest.raises(DataError) as caught:
        export(run, tmp_path / "m.edgetl", formats=["onnx"], schemes=["fp32"])
    assert str(caught.value) == ("This run held no pictures out to measure what is exported on.")
    assert caught.value.hint.startswith("fine-tune with a test part, --set split.test=0.2; or ")
    assert inside(tmp_path) == ["run"]
