"""What is done before the first gradient step: norms adapted, flips chosen, the head fitted."""

import msgspec

from edgetl.backbones.build import Network
from edgetl.core.preprocess import Preprocess
from edgetl.core.progress import Progress
from edgetl.core.recipe import Recipe
from edgetl.finetune.adapted_norms import adapt_norms
from edgetl.finetune.compute import Compute
from edgetl.finetune.decisions import Decisions
from edgetl.finetune.objective import Objective
from edgetl.finetune.orientation import find_flips
from edgetl.finetune.pixels import PixelSet
from edgetl.finetune.probe import cached_features, fit_linear, install_head


def start_off(
    network: Network,
    train: PixelSet,
    spec: Preprocess,
    recipe: Recipe,
    objective: Objective,
    compute: Compute,
    decisions: Decisions,
    progress: Progress,
) -> Recipe:
    """Fit the head to the features as they are; changes the network in place.

    The network comes in training mode, but for norms that stay as they are. Where nothing but the
    head will learn, all norms keep the statistics of the weights.

    Returns the recipe with the mirror images decided that it leaves to the pictures.
    """
    learns = recipe.finetune.total_epochs > 0
    if learns:
        adapt_norms(network, train, spec, compute, seed=recipe.seed)
    seen = cached_features(network, train, spec, compute, progress)
    probe, weights = recipe.probe, objective.weights
    if learns and recipe.augmentation.flip == "auto":
        flip, why = find_flips(network, train, seen, spec, probe, weights, compute)
        decisions.add("mirror images", flip, why)
        recipe = with_flip(recipe, flip)
    install_head(network, *fit_linear(seen, train.labels, probe, weights, compute))
    return recipe


def with_flip(recipe: Recipe, flip: str) -> Recipe:
    """The recipe with these mirror images."""
    augment = msgspec.structs.replace(recipe.augmentation, flip=flip)
    return msgspec.structs.replace(recipe, augment=augment)
