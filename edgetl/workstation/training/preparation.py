"""Before the first gradient step: adapt norms, choose mirror images, fit the head."""

import msgspec

from edgetl.workstation.recipe import Augment
from edgetl.workstation.training.batch_norm import recalibrate_batch_norm
from edgetl.workstation.training.flips import find_flips
from edgetl.workstation.training.freezing import Freezing
from edgetl.workstation.training.linear_probe import cached_features, fit_linear, install_head
from edgetl.workstation.training.loss import class_weights
from edgetl.workstation.training.setup import TrainingSetup


def prepare(setup: TrainingSetup) -> Augment:
    """Adapt the norms and fit the head by a linear probe; changes the network in place.

    If only the head will be trained, all norms keep the statistics of the weights. With a recipe
    without a probe, nothing changes.

    Returns the augmentation to train with: the recipe's, with "auto" mirror images decided by the
    probe.
    """
    recipe, network, train = setup.recipe, setup.network, setup.train.whole
    augment = recipe.augmentation
    if not recipe.probe.enabled:
        return augment
    is_trained = recipe.finetune.total_epochs > 0
    Freezing(network, recipe.finetune).adaptation_mode(network.model)
    if is_trained:
        recalibrate_batch_norm(network, train, setup.spec, setup.compute, seed=recipe.seed)
    features = cached_features(network, train, setup.spec, setup.compute, setup.progress)
    weights = class_weights(train.labels, network.classes(), recipe.finetune.imbalance)
    weights = weights.to(setup.compute.device)
    if is_trained and augment.flip == "auto":
        flip, why = find_flips(setup, features, weights)
        setup.decisions.add("mirror images", flip, why)
        augment = with_flip(augment, flip)
    fitted = fit_linear(features, train.labels, recipe.probe, weights, setup.compute)
    install_head(network, *fitted)
    return augment


def with_flip(augment: Augment, flip: str) -> Augment:
    """The augmentation with other mirror images: a value of `Augment.flip`."""
    return msgspec.structs.replace(augment, flip=flip)
