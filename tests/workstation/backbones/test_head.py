from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from edgetl.core.errors import SchemaError  # noqa: E402
from edgetl.runtime.softmax import class_logits as class_logits_of_arrays  # noqa: E402
from edgetl.workstation.backbones.build import Network, build_network, class_logits  # noqa: E402
from edgetl.workstation.backbones.catalogue import BACKBONES, find_backbone  # noqa: E402
from edgetl.workstation.backbones.weights import fit_weights  # noqa: E402
from edgetl.workstation.recipe import Head, Recipe, override  # noqa: E402
from tests.workstation.backbones.test_build import batch_for  # noqa: E402


def kinds(network: Network, path: str) -> list[str]:
    return [type(module).__name__ for module in network.model.get_submodule(path)]


def dropouts(network: Network) -> list[float]:
    return [m.p for m in network.model.modules() if isinstance(m, nn.Dropout)]


def test_vgg16_with_a_hidden_layer_is_flatten_dense_dense() -> None:
    network = build_network(find_backbone("vgg16"), 5, Head(hidden=(64,)))
    assert kinds(network, "classifier") == ["Linear", "ReLU", "Dropout", "Linear"]
    first, last = network.model.classifier[0], network.head()
    assert (first.in_features, first.out_features) == (512 * 7 * 7, 64)
    assert (last.in_features, last.out_features) == (64, 5)
    assert dropouts(network) == [0.5]  # VGG's own


def test_vgg16_without_hidden_layers_keeps_its_pretrained_ones() -> None:
    network = build_network(find_backbone("vgg16"), 5)
    assert network.new_layers() == ("classifier.6",)
    assert network.model.classifier[3].out_features == 4096


@pytest.mark.parametrize("name", [name for name in BACKBONES if name != "vgg16"])
def test_hidden_layers_stand_between_features_and_answer(name: str) -> None:
    network = build_network(find_backbone(name), 3, Head(hidden=(24, 16), dropout=0.25))
    assert (network.head().in_features, network.head().out_features) == (16, 3)
    linears = [m for m in network.model.modules() if isinstance(m, nn.Linear)]
    assert [m.out_features for m in linears[-3:]] == [24, 16, 3]
    assert [p for p in dropouts(network) if p] == [0.25, 0.25]
    network.model.eval()
    with torch.inference_mode():
        assert network.model(batch_for(name)).shape == (2, 3)


def test_weights_reach_everything_but_the_new_layers() -> None:
    backbone = find_backbone("mobilenet_v3_small")
    network = build_network(backbone, 3, Head(hidden=(16,)))
    pretrained = build_network(backbone, 1000).model.state_dict()
    before = {k: v.clone() for k, v in network.model.state_dict().items()}
    fit_weights(network.model, pretrained, what="w.pth", except_head=network.new_layers())
    for name, tensor in network.model.state_dict().items():
        expected = before if name.startswith("classifier.") else pretrained
        assert torch.equal(tensor, expected[name]), name
    new = {id(p) for p in network.head_parameters()}
    assert new == {id(p) for p in network.model.classifier.parameters()}


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0", "shufflenet_v2"])
def test_dropout_is_added_where_an_architecture_has_none(name: str) -> None:
    assert dropouts(build_network(find_backbone(name), 3)) == []
    network = build_network(find_backbone(name), 3, Head(dropout=0.4))
    assert dropouts(network) == [0.4]
    assert kinds(network, network.backbone.head) == ["Dropout", "Linear"]


@pytest.mark.parametrize("name", ["mobilenet_v2", "googlenet", "squeezenet", "alexnet"])
def test_dropout_replaces_the_architectures_own(name: str) -> None:
    network = build_network(find_backbone(name), 3, Head(dropout=0.05))
    assert set(dropouts(network)) == {0.05}
    assert set(dropouts(build_network(find_backbone(name), 3))) <= {0.2, 0.5}


def test_a_one_logit_head_needs_two_classes() -> None:
    backbone = find_backbone("resnet18")
    network = build_network(backbone, 2, Head(outputs="sigmoid"))
    assert (network.head().out_features, network.classes()) == (1, 2)
    with pytest.raises(SchemaError) as caught:
        build_network(backbone, 3, Head(outputs="sigmoid"))
    assert str(caught.value) == (
        "A head with one sigmoid output tells 2 classes apart; there are 3."
    )
    assert caught.value.hint == "--set head.outputs=softmax"


def test_one_logit_is_the_second_class_against_zero() -> None:
    one = np.array([[-1.5], [2.0]], np.float32)
    expected = [[0.0, -1.5], [0.0, 2.0]]
    assert class_logits_of_arrays(one).tolist() == expected
    assert class_logits(torch.from_numpy(one)).tolist() == expected
    several = np.ones((2, 3), np.float32)
    assert class_logits_of_arrays(several) is several
    assert class_logits(torch.from_numpy(several)).tolist() == several.tolist()


def test_cross_entropy_of_both_logits_is_binary_cross_entropy_of_the_one() -> None:
    z, truth = torch.tensor([[-0.7], [2.0], [0.3]]), torch.tensor([0, 1, 0])
    torch.testing.assert_close(
        nn.functional.cross_entropy(class_logits(z), truth),
        nn.functional.binary_cross_entropy_with_logits(z[:, 0], truth.float()),
    )


def test_a_recipe_names_its_head() -> None:
    recipe = override(Recipe(), ["head.hidden=[256, 64]", "head.outputs=sigmoid"])
    assert recipe.head == Head(hidden=(256, 64), outputs="sigmoid")
    with pytest.raises(SchemaError, match="Expected `int` >= 1"):
        override(Recipe(), ["head.hidden=[0]"])


def test_a_checkpoint_is_rebuilt_with_its_head(pictures: Path, tmp_path: Path) -> None:
    from edgetl.workstation.backbones.checkpoint import load_checkpoint
    from edgetl.workstation.training.finetune import finetune

    settings = ["weights=none", "image_size_px=32", "finetune.epochs=0", "backbone=squeezenet"]
    recipe = override(Recipe(), [*settings, "head.hidden=[8]", "head.dropout=0.1"])
    outcome = finetune(pictures, tmp_path / "run", recipe)
    network, facts = load_checkpoint(tmp_path / "run")
    assert facts.head == recipe.head
    assert kinds(network, "classifier") == [
        "AdaptiveAvgPool2d", "Flatten", "Linear", "ReLU", "Dropout", "Linear"
    ]  # fmt: skip
    assert outcome.test.images > 0
