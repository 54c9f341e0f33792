from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from edgetl.workstation.backbones.build import build_network, freeze_all_but_last  # noqa: E402
from edgetl.workstation.backbones.catalogue import find_backbone  # noqa: E402
from edgetl.workstation.backbones.checkpoint import load_checkpoint  # noqa: E402
from edgetl.workstation.recipe import load_recipe, override  # noqa: E402
from edgetl.workstation.training.finetune import finetune  # noqa: E402
from tests.making import write_class_folders  # noqa: E402

QUICK = ("weights=none", "image_size_px=32", "precision=fp32", "finetune.batch=6")
# Each recipe's dense layers (inputs, outputs) for two classes, and whether the backbone trains.
DENSE = {
    "vgg16-dense1024-adam": ([(25088, 1024), (1024, 2)], True),
    "vgg16-dense1024-512-sgd": ([(25088, 1024), (1024, 512), (512, 2)], True),
    "vgg16-dense4096x2-rmsprop": ([(25088, 4096), (4096, 4096), (4096, 2)], True),
    "vgg16-frozen-binary": ([(25088, 256), (256, 1)], False),
    "resnet18-sgd": ([(512, 2)], True),
    "resnet50-frozen-gap-adam": ([(2048, 2)], False),
}


@pytest.mark.parametrize("name", DENSE)
def test_a_classic_recipe_builds_the_layers_it_is_named_after(name: str) -> None:
    recipe = load_recipe(name)
    network = build_network(find_backbone(recipe.backbone), 2, recipe.head)
    freeze_all_but_last(network, recipe.finetune.trainable_blocks)
    linears = [m for m in network.model.modules() if isinstance(m, nn.Linear)]
    layers, trains = DENSE[name]
    assert [(m.in_features, m.out_features) for m in linears] == layers
    assert all(p.requires_grad for m in linears for p in m.parameters())
    assert {p.requires_grad for b in network.blocks() for p in b.parameters()} == {trains}
    assert not recipe.probe.enabled


@pytest.mark.parametrize("name", ["vgg16-frozen-binary", "resnet18-sgd"])
def test_a_classic_recipe_trains(name: str, tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "data", 6, ("checks", "stripes"))
    recipe = override(load_recipe(name), [*QUICK, "finetune.epochs=2"])
    outcome = finetune(data, tmp_path / "run", recipe)
    network, facts = load_checkpoint(outcome.run)
    assert network.head().out_features == (1 if name == "vgg16-frozen-binary" else 2)
    assert facts.head == recipe.head
