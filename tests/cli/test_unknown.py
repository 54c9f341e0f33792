"""`export --foreign`, `run --unknown` and `evaluate --against`."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs
from PIL import Image

pytest.importorskip("litert_torch")

from edgetl.bundle.archive import Bundle, write_bundle
from edgetl.runtime.classifier import Classifier
from edgetl.workstation.export.export import export
from edgetl.workstation.recipe import load_recipe, override
from edgetl.workstation.training.finetune import finetune
from tests.conftest import Command
from tests.making import inside
from tests.tiny import TINY_WITH_HEATMAP


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a network with a feature map."""
    out = tmp_path_factory.mktemp("unknown") / "run"
    finetune(
        pictures,
        out,
        override(load_recipe("edge-default"), [*TINY_WITH_HEATMAP, "finetune.epochs=12"]),
    )
    return out


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures that show none of the classes."""
    folder = tmp_path_factory.mktemp("foreign") / "noise"
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(20):
        pixels = random.integers(0, 256, (60, 60, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:02}.png")
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, noise: Path) -> Path:
    return export(
        run, run.parent / "m.edgetl", formats=["onnx", "tflite"], foreign=noise, max_drop_pp=100
    ).path


def test_a_bundle_says_what_the_rule_costs_and_gives(edgetl: Command, exported: Path) -> None:
    text = edgetl("inspect", exported).out
    rows = text[text.index("\nunknown ") :].splitlines()
    names = [line.split()[0] for line in rows if line.startswith(("onnx", "tflite"))]
    assert names == ["onnx-fp32", "onnx-int8", "tflite-fp32", "tflite-int8"]
    for artifact in Bundle(exported).manifest.artifacts:
        rule = artifact.unknown
        assert rule is not None and rule.foreign is not None
        assert rule.max_feature_distance is not None and rule.max_appearance_distance is not None
        assert (rule.foreign.folder, rule.foreign.images) == ("noise", 20)
        assert rule.foreign.auroc > 0.8
        assert rule.answered > 0.6


def test_a_foreign_picture_is_answered_unknown(
    edgetl: Command, exported: Path, noise: Path, pictures: Path
) -> None:
    sources = [noise / "00.png", pictures / "checks" / "00.png"]
    answer = edgetl("run", exported, *sources, "--unknown", "--json")
    assert answer.code == 0, answer.err
    foreign, own = json.loads(answer.out)
    assert (foreign["label"], foreign["unknown"]) == ("unknown", True)
    assert foreign["distance"] > 1
    assert foreign["top"][0]["label"] in {"checks", "slope", "stripes"}
    assert foreign["probability"] == foreign["top"][0]["probability"]
    assert own["unknown"] is (own["label"] == "unknown")
    assert own["distance"] < foreign["distance"]
    plain = json.loads(edgetl("run", exported, noise / "00.png", "--json").out)[0]
    assert (plain["label"], plain["unknown"]) == (foreign["top"][0]["label"], None)


def test_every_artifact_sees_the_same_distances_in_its_engine(exported: Path, noise: Path) -> None:
    """Float artifacts to the last digits, int8 nearly."""
    distances = {}
    for name in ("onnx-fp32", "tflite-fp32", "onnx-int8", "tflite-int8"):
        classifier = Classifier(exported, artifact=name)
        pixels = classifier.read(noise / "03.png").pixels
        measure = classifier.unknown_detector.distance
        assert measure is not None
        distances[name] = measure(pixels, classifier.outputs(pixels)[1])
    assert distances["tflite-fp32"] == pytest.approx(distances["onnx-fp32"], rel=1e-3)
    for name in ("onnx-int8", "tflite-int8"):
        assert distances[name][0] == distances["onnx-fp32"][0]  # the appearance
        assert distances[name][1] == pytest.approx(distances["onnx-fp32"][1], rel=0.25)


def test_evaluate_scores_every_artifact_against_foreign_pictures(
    edgetl: Command, exported: Path, noise: Path, pictures: Path
) -> None:
    answer = edgetl("evaluate", exported, pictures, "--against", noise, "--json")
    assert answer.code == 0, answer.err
    scores = json.loads(answer.out)["unknown"]
    assert {score["artifact"] for score in scores} == {
        "onnx-fp32", "onnx-int8", "tflite-fp32", "tflite-int8",
    }  # fmt: skip
    for score in scores:
        assert score["images"] == 60
        assert score["foreign"]["images"] == 20
        assert score["foreign"]["auroc"] > 0.8
    one = edgetl("evaluate", exported, pictures, "--against", noise, "--artifact", "onnx-int8")
    table = one.out[one.out.index("against 20 pictures of noise") :]
    assert len(set(re.findall(r"onnx-int8|onnx-fp32", table))) == 1


def test_a_network_without_a_feature_map_judges_by_confidence_and_appearance(
    edgetl: Command, tiny_bundle: Path, pictures: Path
) -> None:
    rule = Bundle(tiny_bundle).artifact("onnx-int8").unknown
    assert rule is not None
    assert rule.max_feature_distance is None and rule.max_appearance_distance is not None
    answer = edgetl("run", tiny_bundle, pictures / "checks", "--unknown", "--json")
    assert answer.code == 0, answer.err
    for prediction in json.loads(answer.out):
        doubtful = prediction["probability"] < rule.min_confidence
        assert prediction["unknown"] is (doubtful or prediction["distance"] > 1)


def test_without_a_rule_run_says_what_to_do(
    edgetl: Command, tiny_bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    ruleless = Bundle(tiny_bundle)
    artifacts = tuple(structs.replace(a, unknown=None) for a in ruleless.manifest.artifacts)
    old = tmp_path / "old.edgetl"
    write_bundle(old, structs.replace(ruleless.manifest, artifacts=artifacts), ruleless.contents())
    answer = edgetl("run", old, pictures / "checks" / "00.png", "--unknown")
    assert (answer.code, answer.out) == (1, "")
    assert f" of '{old}' has no rule for unknown pictures." in answer.err
    assert "Hint: export again with this version of edgetl." in answer.err
    evaluated = edgetl("evaluate", old, pictures, "--against", pictures)
    assert (evaluated.code, evaluated.out) == (1, "")
    assert "has no rule for unknown pictures." in evaluated.err
    assert "evaluating" not in evaluated.err  # before the work


def test_no_feature_map_is_output_if_none_is_wanted(
    edgetl: Command, run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "m.edgetl"
    answer = edgetl("export", run, "-o", out, "--format", "onnx", "--fp32", "--no-explain-output")
    assert answer.code == 0, answer.err
    manifest = Bundle(out).manifest
    assert manifest.head is None
    (artifact,) = manifest.artifacts
    assert artifact.feature_map is None
    assert artifact.unknown is not None and artifact.unknown.max_feature_distance is None


@pytest.mark.parametrize("option", ["--foreign", "--against"])
def test_a_folder_without_pictures_is_named(
    edgetl: Command, run: Path, exported: Path, pictures: Path, tmp_path: Path,
    option: str,
) -> None:  # fmt: skip
    folder = tmp_path / "empty"
    folder.mkdir()
    if option == "--foreign":
        answer = edgetl("export", run, "-o", tmp_path / "m.edgetl", "--foreign", folder)
    else:
        answer = edgetl("evaluate", exported, pictures, "--against", folder)
    assert answer.code == 1
    assert f"'{folder}' holds no pictures" in answer.err
    assert "evaluating" not in answer.err  # before the work
    assert "shows none of the classes" in answer.err
    assert inside(tmp_path) == ["empty"]


def test_a_run_has_no_rule(edgetl: Command, run: Path, pictures: Path, noise: Path) -> None:
    answer = edgetl("evaluate", run, pictures, "--against", noise)
    assert answer.code == 1
    assert "--against belong to a bundle" in answer.err
