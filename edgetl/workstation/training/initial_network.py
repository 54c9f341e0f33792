"""The network that training starts from, with the weights that a recipe names."""

from pathlib import Path
from typing import NamedTuple

import torch

from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.progress import Progress
from edgetl.workstation.backbones.architecture import Backbone, WeightSource
from edgetl.workstation.backbones.build import Network, build_network
from edgetl.workstation.backbones.catalogue import find_backbone
from edgetl.workstation.backbones.weights import find_weights, fit_weights, read_state_dict
from edgetl.workstation.recipe import Recipe
from edgetl.workstation.training.progressive_resize import training_side


class InitialNetwork(NamedTuple):
    """A network, the preprocessing its weights were made for, and what those weights are."""

    network: Network
    preprocess: Preprocess
    weights: str


class _Weights(NamedTuple):
    path: Path | None
    source: WeightSource
    described: str


def make_initial_network(recipe: Recipe, classes: int, progress: Progress) -> InitialNetwork:
    """Build the recipe's network for `classes` classes and load its weights.

    It has auxiliary heads if it will be trained on pictures that are all large enough for them.
    Raises WeightsError for unusable weights, SchemaError for settings that the backbone lacks.
    """
    backbone = find_backbone(recipe.backbone)
    size_px = recipe.image_size_px or backbone.size_px
    backbone.require_size(size_px)
    torch.manual_seed(recipe.seed)
    smallest_px = training_side(recipe.finetune, size_px, backbone.smallest_px, epoch=0)
    auxiliary = recipe.finetune.total_epochs > 0 and backbone.has_room_for_auxiliary(smallest_px)
    network = build_network(backbone, classes, recipe.head, auxiliary=auxiliary)
    weights = _find(recipe.weights, backbone, progress)
    if weights.path:
        fit_weights(
            network.model,
            read_state_dict(weights.path),
            what=weights.path.name,
            except_head=network.new_layers(),
            by_order=weights.source.paired_by_order,
        )
    spec = Preprocess(
        size_px=size_px,
        mean=weights.source.mean,
        std=weights.source.std,
    )
    return InitialNetwork(network, spec, weights.described)


def _find(wanted: str, backbone: Backbone, progress: Progress) -> _Weights:
    """The weights for "imagenet", "none" or a path, and the source of their normalisation."""
    if wanted == "none":
        return _Weights(None, backbone.sources[0], "none")
    if wanted == "imagenet":
        found = find_weights(backbone, progress)
        return _Weights(found.path, found.source, found.described)
    path = Path(wanted)
    return _Weights(path, backbone.source_of(path.name), path.name)
