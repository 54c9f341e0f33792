"""From a state dict made elsewhere to a bundle that answers as it does."""

import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")

import safetensors.torch  # noqa: E402

from edgetl.bundle.archive import Bundle  # noqa: E402
from edgetl.core.errors import DataError, EdgetlError, GateMissedError  # noqa: E402
from edgetl.runtime.classifier import Classifier  # noqa: E402
from edgetl.runtime.preprocess import load_pixels  # noqa: E402
from edgetl.workstation.backbones.checkpoint import load_checkpoint  # noqa: E402
from edgetl.workstation.export.export import export  # noqa: E402
from edgetl.workstation.import_checkpoint import import_checkpoint  # noqa: E402
from edgetl.workstation.torch_model import torch_model  # noqa: E402
from tests.making import inside  # noqa: E402
from tests.tiny import NETWORK  # noqa: E402

SMALL = {"size_px": 32, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("theirs") / "labels.txt"
    path.write_text("checks\nslope\nstripes\n")
    return path


@pytest.fixture(scope="module")
def weights(tiny_run: Path, labels: Path) -> Path:
    """The tiny run's network, as if another tool had trained it."""
    state = safetensors.torch.load_file(tiny_run / "checkpoint.safetensors")
    torch.save({f"module.{key}": value for key, value in state.items()}, labels.parent / "w.pth")
    return labels.parent / "w.pth"


@pytest.fixture(scope="module")
def adopted(weights: Path, labels: Path) -> Path:
    run = weights.parent / "run"
    spec = {"size_px": 32}
    import_checkpoint(str(weights), run, backbone=NETWORK, labels=labels, overrides=spec)
    return run


@pytest.fixture(scope="module")
def bundle(adopted: Path, pictures: Path) -> Bundle:
    schemes = ("fp32", "int8")
    return export(
        adopted, adopted.parent / "m.edgetl",
        formats=["onnx"], schemes=schemes, calibration=pictures,
    )  # fmt: skip


def test_it_answers_as_the_run_it_was_taken_from(
    tiny_run: Path, adopted: Path, bundle: Bundle, pictures: Path
) -> None:
    (trained, before), (network, after) = (load_checkpoint(run) for run in (tiny_run, adopted))
    assert (after.labels, after.preprocess) == (before.labels, before.preprocess)
    pixels = np.stack([load_pixels(p, after.preprocess) for p in sorted(pictures.rglob("*.png"))])
    model = torch_model(network, after.preprocess)
    assert np.array_equal(torch_model(trained, before.preprocess)(pixels), model(pixels))
    by_engine = Classifier(bundle, artifact="onnx-fp32").logits(pixels[0])
    np.testing.assert_allclose(by_engine, model(pixels[:1])[0], atol=1e-4)


def test_without_labels_two_fifths_of_the_pictures_are_measured_on(bundle: Bundle) -> None:
    made = bundle.manifest.provenance
    assert (made.training_images, made.calibration_images, made.torch_top1) == (0, 24, None)
    for artifact in bundle.manifest.artifacts:
        measured = artifact.measured
        assert measured
        assert (measured.images, measured.part) == (24, "unlabelled")
        assert (measured.top1, measured.drop_pp) == (None, None)
        assert measured.loss_pp == pytest.approx(100 - 100 * measured.agreement)
    assert bundle.artifact("onnx-fp32").measured.agreement == 1.0  # type: ignore[union-attr]


def test_without_labels_the_budget_is_of_agreement(
    adopted: Path, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(GateMissedError) as caught:
        export(
            adopted, tmp_path / "m.edgetl",
            formats=["onnx"], schemes=["fp32"], calibration=pictures, max_drop_pp=-1.0,
        )  # fmt: skip
    assert str(caught.value) == "Over the budget of -1.0 points of agreement: onnx-fp32 lost 0.00."


def test_labelled_pictures_given_with_it_are_what_it_is_measured_on(
    weights: Path, labels: Path, pictures: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    import_checkpoint(
        str(weights), run,
        backbone=NETWORK, labels=labels, test=pictures, overrides={"size_px": 32},
    )  # fmt: skip
    made = export(run, tmp_path / "m.edgetl", formats=["onnx"], schemes=["fp32"])
    measured = made.artifact("onnx-fp32").measured
    assert measured
    assert (measured.images, measured.part, measured.drop_pp) == (60, "test", 0.0)
    with pytest.raises(DataError, match="holds no picture to choose int8 ranges by"):
        export(run, tmp_path / "n.edgetl", formats=["onnx"], schemes=["int8"])


def test_it_is_asked_as_the_user_says(weights: Path, labels: Path, tmp_path: Path) -> None:
    facts = import_checkpoint(
        str(weights), tmp_path / "run",
        backbone=NETWORK, labels=labels, overrides={**SMALL, "crop": 0.875},
    )  # fmt: skip
    spec = facts.preprocess
    assert (spec.size_px, spec.resize_px, spec.mean, spec.std) == (
        32, 37, SMALL["mean"], SMALL["std"],
    )  # fmt: skip


def test_without_pictures_export_asks_for_some(adopted: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        export(adopted, tmp_path / "m.edgetl")
    assert "--calibration" in caught.value.hint
    (tmp_path / "one").mkdir()
    with pytest.raises(DataError, match=r"one' holds 0 pictures\."):
        export(adopted, tmp_path / "m.edgetl", calibration=tmp_path / "one")
    assert inside(tmp_path) == ["one"]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"size_px": 4}, "Expected `int` >= 16 - at `$.size_px`"),
        ({"crop": 1.5}, "Expected `float` <= 1.0 - at `$.crop`"),
        ({"std": (0.0, 1.0, 1.0)}, "std [0.0, 1.0, 1.0]: each part is above 0"),
    ],
)
def test_impossible_preparations_leave_nothing_behind(
    weights: Path, labels: Path, tmp_path: Path, overrides: dict[str, object], told: str
) -> None:
    with pytest.raises(EdgetlError) as caught:
        import_checkpoint(
            str(weights),
            tmp_path / "run",
            backbone=NETWORK,
            labels=labels,
            overrides=overrides,
        )
    assert told in str(caught.value)
    assert inside(tmp_path) == []


def test_a_run_that_is_there_is_kept(adopted: Path, weights: Path, labels: Path) -> None:
    before = shutil.copytree(adopted, adopted.parent / "before")
    with pytest.raises(EdgetlError, match="already holds a run"):
        import_checkpoint(str(weights), adopted, backbone=NETWORK, labels=labels)
    assert inside(before) == inside(adopted)


@pytest.mark.parametrize(
    ("checkpoint", "options", "told"),
    [
        ("w.pth", {}, "cannot be told from the file alone"),
        ("imagenet:mobilenet_v2", {"backbone": "resnet18"}, "has labels of its own"),
        ("imagenet:mobilenet_v9", {}, "There is no backbone 'mobilenet_v9'"),
    ],
)
def test_what_does_not_say_what_it_is_or_says_it_twice_is_refused(
    tmp_path: Path, checkpoint: str, options: dict[str, str], told: str
) -> None:
    with pytest.raises(EdgetlError, match=told):
        import_checkpoint(checkpoint, tmp_path / "run", **options)  # type: ignore[arg-type]
    assert inside(tmp_path) == []
