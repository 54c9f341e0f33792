from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import torchvision  # noqa: E402

from edgetl.core.errors import SchemaError  # noqa: E402
from edgetl.core.progress import Silent  # noqa: E402
from edgetl.workstation.backbones.build import build_network, training_logits  # noqa: E402
from edgetl.workstation.backbones.catalogue import BACKBONES, find_backbone  # noqa: E402
from edgetl.workstation.backbones.checkpoint import save_tensors  # noqa: E402
from edgetl.workstation.backbones.weights import fit_weights, read_state_dict  # noqa: E402
from edgetl.workstation.recipe import Recipe, override  # noqa: E402
from edgetl.workstation.training.initial_network import make_initial_network  # noqa: E402

FROM_TORCHVISION = [b.name for b in BACKBONES.values() if b.library == "torchvision"]
WITH_AUXILIARY = {"googlenet": (0.3, 0.3), "inception_v3": (0.4,)}


def as_published(name: str) -> torch.nn.Module:
    """The network as torchvision fills it with the file's weights: 1000 classes, every head."""
    options = {"init_weights": True} if name in WITH_AUXILIARY else {}
    return torchvision.models.get_model(find_backbone(name).constructor, weights=None, **options)


@pytest.mark.parametrize("name", FROM_TORCHVISION)
def test_a_published_file_fits_but_for_the_last_layer(name: str) -> None:
    network = build_network(find_backbone(name), 3, auxiliary=name in WITH_AUXILIARY)
    published = as_published(name).state_dict()
    fit_weights(network.model, published, what="w.pth", except_head=network.new_layers())
    own = network.model.state_dict()
    taken = {k for k, v in own.items() if k in published and torch.equal(v, published[k])}
    new = tuple(f"{path}." for path in network.new_layers())
    assert set(own) - taken == {k for k in own if k.startswith(new)}


@pytest.mark.parametrize("name", FROM_TORCHVISION)
def test_torchvision_offers_each_file_at_the_address_written_down(name: str) -> None:
    constructor = find_backbone(name).constructor
    offered = torchvision.models.get_model_weights(constructor).IMAGENET1K_V1
    (source,) = find_backbone(name).sources
    assert source.url == offered.url
    assert find_backbone(name).size_px == offered.transforms().crop_size[0]
    sides = offered.transforms().crop_size[0], offered.transforms().resize_size[0]
    assert source.crop == pytest.approx(sides[0] / sides[1], abs=1e-3)
    assert find_backbone(name).smallest_px == max(16, *offered.meta["min_size"])


@pytest.mark.parametrize("number", [0, 1, 2])
def test_timm_offers_efficientnet_lite_for_the_architecture_written_down(number: int) -> None:
    backbone = find_backbone(f"efficientnet_lite{number}")
    offered = build_network(backbone, 3).model.default_cfg
    assert backbone.sources[1].url == offered["url"]
    published = tuple(offered[key] for key in ("mean", "std", "crop_pct", "interpolation"))
    assert {(s.mean, s.std, s.crop, s.resize) for s in backbone.sources} == {published}
    assert (backbone.size_px, backbone.size_px) == tuple(offered["input_size"][1:])


@pytest.mark.parametrize("name", WITH_AUXILIARY)
def test_normalising_to_minus_one_is_what_torchvision_does_inside(name: str) -> None:
    network = build_network(find_backbone(name), 3)
    theirs = as_published(name)
    theirs.transform_input = True
    (source,) = find_backbone(name).sources
    pixels = torch.rand(2, 3, 8, 8)

    def normalised(mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
        return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

    theirs_sees = theirs._transform_input(normalised((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    ours_sees = network.model._transform_input(normalised(source.mean, source.std))
    torch.testing.assert_close(ours_sees, theirs_sees)


@pytest.mark.parametrize("name", WITH_AUXILIARY)
def test_auxiliary_heads_answer_in_training_and_are_not_saved(name: str, tmp_path: Path) -> None:
    backbone = find_backbone(name)
    network = build_network(backbone, 3, auxiliary=True)
    pixels = torch.rand(2, 3, *[max(64, a.smallest_px) for a in backbone.auxiliary[:1] * 2])
    answers = training_logits(network, pixels)
    assert tuple(a.weight for a in answers) == (1.0, *WITH_AUXILIARY[name])
    assert {tuple(a.logits.shape) for a in answers} == {(2, 3)}
    sum(a.logits.sum() for a in answers).backward()
    for head in backbone.auxiliary:
        assert network.model.get_submodule(head.last).weight.grad is not None
    save_tensors(tmp_path, network)
    plain = build_network(backbone, 3)
    assert set(read_state_dict(tmp_path / "checkpoint.safetensors")) == set(
        plain.model.state_dict()
    )


def test_a_network_without_auxiliary_heads_answers_once() -> None:
    network = build_network(find_backbone("resnet18"), 3)
    (answer,) = training_logits(network, torch.rand(2, 3, 32, 32))
    assert answer.weight == 1.0


def start(*settings: str) -> torch.nn.Module:
    return make_initial_network(
        override(Recipe(weights="none"), settings), 3, Silent()
    ).network.model


def test_auxiliary_heads_need_large_pictures_and_training() -> None:
    assert start("backbone=googlenet", "image_size_px=64").aux1 is not None
    assert start("backbone=googlenet", "finetune.epochs=0").aux1 is None
    assert start("backbone=inception_v3").AuxLogits is not None
    assert start("backbone=inception_v3", "image_size_px=160").AuxLogits is None


def test_pictures_too_small_for_a_backbone_are_refused() -> None:
    with pytest.raises(SchemaError) as caught:
        start("backbone=inception_v3", "image_size_px=64")
    assert str(caught.value) == (
        "Backbone 'inception_v3' takes pictures of 75 px and more, not of 64."
    )
    assert caught.value.hint == "--image-size 299 is what its weights were trained at."


def test_a_users_mobilenet_v4_file_fits_by_name(tmp_path: Path) -> None:
    backbone = find_backbone("mobilenet_v4")
    published = build_network(backbone, 1000).model.state_dict()
    torch.save(published, tmp_path / "model.pth")
    recipe = Recipe(backbone="mobilenet_v4", weights=str(tmp_path / "model.pth"))
    begun = make_initial_network(recipe, 3, Silent())
    assert begun.preprocess.mean == (0.485, 0.456, 0.406)
    own = begun.network.model.state_dict()
    assert torch.equal(own["blocks.0.0.conv.weight"], published["blocks.0.0.conv.weight"])
