"""Networks that were trained elsewhere."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import safetensors.torch  # noqa: E402
import timm  # noqa: E402
import torchvision  # noqa: E402
from torch import nn  # noqa: E402

from edgetl.core.errors import WeightsError  # noqa: E402
from edgetl.core.progress import Silent  # noqa: E402
from edgetl.workstation.backbones.catalogue import find_backbone  # noqa: E402
from edgetl.workstation.backbones.checkpoint import load_checkpoint  # noqa: E402
from edgetl.workstation.backbones.imported import (  # noqa: E402
    ImportedNetwork,
    imagenet_labels,
    import_file,
    save_imported,
)
from tests.making import Remarks  # noqa: E402

LABELS = ("checks", "slope", "stripes")


def theirs(name: str = "resnet18", classes: int = 3) -> nn.Module:
    """torchvision's network with random weights, norms' statistics among them."""
    torch.manual_seed(0)
    return unsettled(torchvision.models.get_model(name, weights=None, num_classes=classes))


def unsettled(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


def written(folder: Path, state: object, suffix: str = ".pth") -> Path:
    path = folder / f"theirs{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:  # which puts the tensors in another order
        safetensors.torch.save_file(state, path)
    return path


def answers(model: nn.Module) -> torch.Tensor:
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return model.eval()(pixels)


def same_answers(adopted: ImportedNetwork, model: nn.Module) -> bool:
    return torch.equal(answers(adopted.network.model), answers(model))


def adopt(path: Path, name: str = "resnet18", labels: tuple[str, ...] = LABELS) -> ImportedNetwork:
    return import_file(path, name, labels, Silent())


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model", None])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module._orig_mod."])
def test_a_training_scripts_checkpoint_answers_as_the_network_it_is_of(
    tmp_path: Path, wrapper: str | None, prefix: str
) -> None:
    model = theirs()
    state = {prefix + key: value for key, value in model.state_dict().items()}
    path = written(tmp_path, {wrapper: state, "epoch": 3} if wrapper else state)
    assert same_answers(adopt(path), model)


@pytest.mark.parametrize(
    ("ours", "of_timm"), [("mobilenet_v2", "mobilenetv2_100"), ("resnet18", "resnet18")]
)
def test_timms_names_for_the_same_network_are_understood(
    tmp_path: Path, ours: str, of_timm: str
) -> None:
    torch.manual_seed(0)
    model = unsettled(timm.create_model(of_timm, num_classes=3))
    adopted = adopt(written(tmp_path, model.state_dict()), ours)
    torch.testing.assert_close(answers(adopted.network.model), answers(model))


def test_it_says_that_tensors_were_paired_by_their_order(tmp_path: Path) -> None:
    path, told = written(tmp_path, timm.create_model("mobilenetv2_100").state_dict()), Remarks()
    import_file(path, "mobilenet_v2", [str(i) for i in range(1000)], told)
    assert told.said == [
        "'theirs.pth' has other names than 'mobilenet_v2'; its tensors pair up in order"
    ]


def test_the_same_shapes_in_another_order_are_not_paired(tmp_path: Path) -> None:
    state = {f"x.{key}": value for key, value in theirs().state_dict().items()}
    first, second = "x.bn1.weight", "x.bn1.bias"  # of one shape
    swapped = {{first: second, second: first}.get(key, key): v for key, v in state.items()}
    with pytest.raises(WeightsError, match=r"'conv1\.weight' is missing"):
        adopt(written(tmp_path, swapped))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_one_output_and_two_labels_are_a_sigmoid(tmp_path: Path, suffix: str) -> None:
    model = theirs(classes=1)
    adopted = adopt(written(tmp_path, model.state_dict(), suffix), labels=("bad", "good"))
    assert adopted.head.outputs == "sigmoid"
    assert same_answers(adopted, model)


def test_another_network_is_told_by_the_first_tensors_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        adopt(written(tmp_path, theirs("resnet34").state_dict()), "mobilenet_v2")
    assert str(caught.value).startswith(
        "'theirs.pth' does not fit: 'features.0.0.weight' is missing; "
    )
    assert caught.value.hint == "name the backbone it was trained as with --backbone."


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_another_number_of_labels_is_told(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path, theirs(classes=5).state_dict(), suffix)
    with pytest.raises(WeightsError) as caught:
        adopt(path)
    assert str(caught.value) == f"'{path}' answers for 5 classes; 3 labels were given."


def test_a_file_without_layers_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="holds no layer with weights"):
        adopt(written(tmp_path, {"fc.bias": torch.zeros(3)}))


def test_a_network_that_edgetl_builds_otherwise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="'squeezenet' as others train it"):
        adopt(written(tmp_path, theirs("squeezenet1_1").state_dict()), "squeezenet")


def test_the_checkpoint_it_becomes_is_the_same_network(tmp_path: Path) -> None:
    model = theirs()
    run = tmp_path / "run"
    run.mkdir()
    facts = save_imported(adopt(written(tmp_path, model.state_dict())), run)
    network, read = load_checkpoint(run)
    assert read == facts
    assert (facts.weights, facts.finished, facts.training_images) == ("theirs.pth", True, 0)
    assert facts.preprocess.size_px == find_backbone("resnet18").size_px
    assert facts.preprocess.crop == 1.0
    assert torch.equal(answers(network.model), answers(model))


def test_imagenets_labels_are_a_thousand_different_ones_in_its_order() -> None:
    labels = imagenet_labels()
    assert len(set(labels)) == len(labels) == 1000
    assert (labels[0], labels[281], labels[999]) == ("tench", "tabby", "toilet tissue")
