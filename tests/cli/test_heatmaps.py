"""`edgetl export --explain-output` and `edgetl run --explain`."""

import json
from pathlib import Path

import msgspec
import pytest
from PIL import Image

pytest.importorskip("litert_torch")

from edgetl.bundle.archive import Bundle, member_of, write_bundle
from edgetl.core.errors import BundleError
from edgetl.runtime.classifier import Classifier
from edgetl.workstation.export.export import export
from edgetl.workstation.recipe import load_recipe, override
from edgetl.workstation.training.finetune import finetune
from tests.conftest import Command
from tests.making import inside
from tests.tiny import NETWORK, TINY


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network at 64 px: its feature map is 2 x 2."""
    settings = [*TINY, "image_size_px=64", "finetune.epochs=1"]
    out = tmp_path_factory.mktemp("mapped") / "run"
    finetune(pictures, out, override(load_recipe("edge-default"), settings))
    return out


@pytest.fixture(scope="module")
def mapped(run: Path) -> Path:
    return export(run, run.parent / "m.edgetl", formats=["onnx"], explain_output=True,
                  max_drop_pp=100).path  # fmt: skip


def test_export_shows_what_the_feature_map_costs(edgetl: Command, run: Path, tmp_path) -> None:
    answer = edgetl(
        "export", run, "-o", tmp_path / "m.edgetl", "--format", "onnx", "--explain-output",
        "--max-drop", "100",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    table = answer.out[answer.out.index("for heatmaps") :].splitlines()
    assert [line.split()[:6] for line in table[1:3]] == [
        [name, "2", "x", "2", "x", "256"] for name in ("onnx-fp32", "onnx-int8")
    ]
    assert [line.split()[-1] for line in table[1:3]] == ["0", "0"]  # logits differ


def test_run_draws_a_heatmap_for_each_picture(
    edgetl: Command, mapped: Path, pictures: Path, tmp_path: Path
) -> None:
    sources = [pictures / "checks" / "00.png", pictures / "slope" / "00.png"]
    answer = edgetl("run", mapped, *sources, "--explain", tmp_path / "heat", "--json")
    assert answer.code == 0, answer.err
    for prediction in json.loads(answer.out):
        assert prediction["heatmap"]["label"] == prediction["label"]
        assert [len(row) for row in prediction["heatmap"]["logits"]] == [2, 2]
    assert inside(tmp_path / "heat") == ["00-2.heatmap.jpg", "00.heatmap.jpg"]
    assert Image.open(tmp_path / "heat" / "00.heatmap.jpg").size == (448, 448)


def test_a_heatmap_is_made_only_if_it_is_requested(mapped: Path, pictures: Path) -> None:
    classifier = Classifier(mapped)
    picture = pictures / "checks" / "00.png"
    plain, explained = classifier(picture), classifier(picture, explain=True)
    assert plain.heatmap is None
    assert explained.heatmap is not None
    assert plain.top == explained.top


def test_a_bundle_without_feature_maps_says_how_to_get_one(
    edgetl: Command, tiny_bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    answer = edgetl("run", tiny_bundle, pictures / "checks", "--explain", tmp_path / "heat")
    assert (answer.code, answer.out) == (1, "")
    assert "has no feature maps" in answer.err
    assert "export again with --explain-output" in answer.err
    assert inside(tmp_path) == []


def test_a_network_without_a_feature_map_is_refused_before_work(
    edgetl: Command, tiny_run: Path, tmp_path: Path
) -> None:
    """At 32 px the last map is a single place."""
    answer = edgetl("export", tiny_run, "-o", tmp_path / "m.edgetl", "--explain-output")
    assert (answer.code, answer.out) == (1, "")
    assert f"'{NETWORK}' has no feature map" in answer.err
    assert "mnasnet, mobilenet_v2" in answer.err
    assert inside(tmp_path) == []


@pytest.mark.parametrize(
    ("weights", "problem"),
    [(b"\0" * 12, "has the wrong size"), (b"\xff" * 4 * 3 * 256, "is not finite")],
)
def test_weights_that_do_not_fit_are_refused(
    mapped: Path, pictures: Path, tmp_path: Path, weights: bytes, problem: str
) -> None:
    bundle = Bundle(mapped)
    manifest = msgspec.structs.replace(bundle.manifest, head=member_of("head.f32", weights))
    contents = bundle.contents() | {"head.f32": weights}
    write_bundle(tmp_path / "m.edgetl", manifest, contents)
    with pytest.raises(BundleError, match=problem):
        Classifier(tmp_path / "m.edgetl")(pictures / "checks" / "00.png", explain=True)
