"""Importing networks that were trained elsewhere as checkpoints of run folders."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import torchvision
from torch import Tensor

from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.errors import WeightsError
from edgetl.core.progress import Progress
from edgetl.workstation.backbones.architecture import Backbone, WeightSource
from edgetl.workstation.backbones.build import Network, build_network
from edgetl.workstation.backbones.catalogue import find_backbone
from edgetl.workstation.backbones.checkpoint import Checkpoint, save_facts, save_tensors
from edgetl.workstation.backbones.weights import (
    find_weights,
    fit_weights,
    pairs_by_order,
    read_state_dict,
)
from edgetl.workstation.recipe import Head


class ImportedNetwork(NamedTuple):
    """An imported network, its labels and preprocessing, and a description of its weights."""

    network: Network
    labels: tuple[str, ...]
    preprocess: Preprocess
    weights: str
    head: Head = Head()


def import_imagenet(name: str, progress: Progress) -> ImportedNetwork:
    """Import a backbone with its ImageNet weights, 1,000 labels and published preprocessing.

    Raises WeightsError.
    """
    backbone = _importable(name)
    weights = find_weights(backbone, progress)
    labels = imagenet_labels()
    network = build_network(backbone, len(labels))
    fit_weights(
        network.model,
        read_state_dict(weights.path),
        what=weights.path.name,
        by_order=weights.source.paired_by_order,
    )
    preprocess = _preprocess(backbone, weights.source)
    return ImportedNetwork(network, labels, preprocess, weights.described)


def import_file(
    path: Path, name: str, labels: Sequence[str], progress: Progress
) -> ImportedNetwork:
    """Import a network from a state dict, .safetensors or .pth; its input is whole pictures.

    Args:
        path: the state dict. Its tensors may have other names than the backbone's if they have the
            same order.
        name: the backbone's name.
        labels: the classes in the order of the outputs. With two labels and one output, the output
            is that of a sigmoid head.
        progress: where to show messages.

    Raises WeightsError if the file cannot be read safely, or is of another network or another
    number of classes.
    """
    backbone = _importable(name)
    state = read_state_dict(path)
    outputs = _outputs(backbone, state, path)
    head = Head(outputs="sigmoid") if outputs == 1 and len(labels) == 2 else Head()
    if outputs != head.width(len(labels)):
        raise WeightsError(
            f"'{path}' answers for {outputs} classes; {len(labels)} labels were given.",
            hint="list the labels it was trained with, in the order of its outputs.",
        )
    network = build_network(backbone, len(labels), head)
    named = network.model.state_dict().keys() & state.keys()
    by_order = not named and pairs_by_order(network.model, state)
    if by_order:
        progress.say(f"'{path.name}' has other names than '{name}'; its tensors pair up in order")
    fit_weights(network.model, state, what=path.name, by_order=by_order)
    source = msgspec.structs.replace(backbone.source_of(path.name), crop=1.0, resize="bilinear")
    return ImportedNetwork(network, tuple(labels), _preprocess(backbone, source), path.name, head)


def save_imported(adopted: ImportedNetwork, out: Path) -> Checkpoint:
    """Write an imported network as the checkpoint of the run folder `out`; returns its facts."""
    facts = Checkpoint(
        backbone=adopted.network.backbone.name,
        labels=adopted.labels,
        preprocess=adopted.preprocess,
        weights=adopted.weights,
        training_images=0,
        val_top1=None,
        test_top1=None,
        sha256=save_tensors(out, adopted.network),
        finished=True,
        head=adopted.head,
    )
    save_facts(out, facts)
    return facts


def imagenet_labels() -> tuple[str, ...]:
    """ImageNet's 1,000 labels, in the order of the outputs of networks trained on it."""
    return tuple(torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def _importable(name: str) -> Backbone:
    backbone = find_backbone(name)
    if backbone.classifies_maps:
        raise WeightsError(
            f"'{name}' as others train it ends in a convolution, which edgetl replaces.",
            hint="fine-tune it on your pictures instead.",
        )
    return backbone


def _preprocess(backbone: Backbone, source: WeightSource) -> Preprocess:
    return Preprocess(
        size_px=backbone.size_px,
        resize=source.resize,
        crop=source.crop,
        mean=source.mean,
        std=source.std,
    )


def _outputs(backbone: Backbone, state: Mapping[str, Tensor], path: Path) -> int:
    """The number of logits of a state dict: of the head by its name, else of the last layer."""
    layers = [tensor for tensor in state.values() if tensor.ndim > 1]
    if not layers:
        raise WeightsError(f"'{path}' holds no layer with weights.")
    return len(state.get(f"{backbone.head}.weight", layers[-1]))
