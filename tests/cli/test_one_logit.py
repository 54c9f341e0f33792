"""Two classes, one sigmoid output: from the folder of pictures to every command of the device."""

import json
from pathlib import Path

import pytest

pytest.importorskip("litert_torch")

import numpy as np
import onnxruntime

from edgetl.bundle.archive import Bundle
from tests.making import write_class_folders

SETTINGS = (
    "head.outputs=sigmoid", "precision=fp32", "finetune.batch=8", "augment.min_area=1",
    "finetune.backbone_rate=5e-3", "finetune.head_rate=5e-3", "split.test=0.25",
)  # fmt: skip
ARTIFACTS = [f"{f}-{s}" for f in ("onnx", "openvino", "tflite") for s in ("fp32", "int8")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, the second with twice the pictures."""
    root = write_class_folders(tmp_path_factory.mktemp("two") / "data", 12, ["checks"])
    return write_class_folders(root, 24, ["stripes"])


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `run` and `model.edgetl`, as the commands make them."""
    from edgetl.workstation.export.export import export
    from edgetl.workstation.recipe import load_recipe, override
    from edgetl.workstation.training.finetune import finetune

    root = tmp_path_factory.mktemp("one-logit")
    given = ["weights=none", "image_size_px=32", "finetune.epochs=6", "backbone=timm:test_resnet"]
    finetune(data, root / "run", override(load_recipe("edge-default"), [*given, *SETTINGS]))
    export(root / "run", root / "model.edgetl", max_drop_pp=100.0)
    return root


def test_every_graph_has_one_output_and_agrees_with_torch(made: Path) -> None:
    bundle = Bundle(made / "model.edgetl")
    assert [artifact.name for artifact in bundle.manifest.artifacts] == ARTIFACTS
    for artifact in bundle.manifest.artifacts:
        assert artifact.output.shape == (1, 1)
        assert artifact.measured is not None
        assert artifact.measured.agreement >= (1.0 if artifact.scheme == "fp32" else 0.85)
        assert artifact.measured.top1 >= 0.85


def test_the_second_label_is_the_one_whose_logit_is_above_zero(
    made: Path, data: Path, edgetl
) -> None:
    bundle = Bundle(made / "model.edgetl")
    (model,) = bundle.files(bundle.artifact("onnx-fp32"))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    pixels = bundle.golden()["inputs"]
    golden = bundle.golden()["onnx-fp32"]
    raw = np.concatenate([session.run(None, {"pixels": p[None]})[0] for p in pixels])
    assert raw.shape == (len(pixels), 1)
    assert (golden[:, 0] == 0).all()
    np.testing.assert_allclose(golden[:, 1:], raw, atol=1e-5)

    for kind in ("checks", "stripes"):
        answer = edgetl(
            "run", bundle.path, data / kind / "00.png", "--artifact", "onnx-fp32", "--json"
        )
        (prediction,) = json.loads(answer.out)
        assert prediction["label"] == kind
        assert sorted(entry["label"] for entry in prediction["top"]) == ["checks", "stripes"]
        assert sum(e["probability"] for e in prediction["top"]) == pytest.approx(1, abs=1e-6)
        assert prediction["probability"] > 0.5


def test_the_run_and_its_artifacts_answer_alike(made: Path, data: Path, edgetl) -> None:
    by_torch = json.loads(edgetl("evaluate", made / "run", data, "--json").out)
    assert by_torch["top1"] > 0.9
    for name in ("onnx-fp32", "openvino-fp32", "tflite-fp32"):
        bundle = made / "model.edgetl"
        report = json.loads(edgetl("evaluate", bundle, data, "--artifact", name, "--json").out)
        assert report["confusion"] == by_torch["confusion"]


def test_the_bundle_verifies_benches_and_shows_itself(made: Path, edgetl) -> None:
    bundle = made / "model.edgetl"
    answer = edgetl("verify", bundle, "--json")
    assert answer.code == 0, answer.err
    statuses = [r["status"] for r in json.loads(answer.out)]
    assert set(statuses) <= {"right", "absent"}
    assert statuses.count("right") >= 6
    assert "checks, stripes" in edgetl("inspect", bundle).out
    answer = edgetl("bench", bundle, "--engine", "onnxruntime", "--artifact", "onnx-int8")
    assert answer.code == 0, answer.err


def test_more_than_two_classes_are_refused_before_training(
    pictures: Path, tmp_path: Path, edgetl
) -> None:
    run = tmp_path / "run"
    answer = edgetl(
        "finetune", pictures, "-o", run, "--weights", "none", "--set", "head.outputs=sigmoid"
    )
    assert answer.code == 1
    assert answer.err.splitlines()[-2:] == [
        "Error: A head with one sigmoid output tells 2 classes apart; there are 3.",
        "Hint: --set head.outputs=softmax",
    ]
    assert not run.exists()
