"""Building a torch network from a catalogue entry."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import timm
import torch
import torch.nn.functional as F  # noqa: N812
import torchvision
from torch import Tensor, nn

from edgetl.workstation.backbones.architecture import Backbone
from edgetl.workstation.backbones.head import DenseHead, install_head
from edgetl.workstation.recipe import Head


class Network(NamedTuple):
    """A network and the catalogue entry it was built from."""

    model: nn.Module
    backbone: Backbone

    def head(self) -> nn.Linear:
        """The final linear layer."""
        head = self.model.get_submodule(self._last_layer())
        assert isinstance(head, nn.Linear)  # the catalogue's tests check this
        return head

    def classes(self) -> int:
        """The number of classes; 2 for a network with a single output."""
        return max(2, self.head().out_features)

    def new_layers(self) -> tuple[str, ...]:
        """Dotted paths of the modules that are not initialised from pretrained weights."""
        replaced = self._classifier() if self._is_replaced() else self._last_layer()
        return replaced, *(a.last for a in self.backbone.auxiliary)

    def head_parameters(self) -> list[nn.Parameter]:
        """The parameters of the new layers, which train at the head's learning rate."""
        paths = (p for p in self.new_layers() if _holds(self.model, p))
        return [p for path in paths for p in self.model.get_submodule(path).parameters()]

    def blocks(self) -> list[nn.Module]:
        """The blocks of the trunk that have parameters, first to last."""
        children = [
            block
            for name in self.backbone.trunk
            for block in self.model.get_submodule(name).children()
        ]
        named = [self.model.get_submodule(name) for name in self.backbone.blocks]
        return [block for block in (*children, *named) if any(True for _ in block.parameters())]

    def _classifier(self) -> str:
        return self.backbone.classifier or self.backbone.head

    def _is_replaced(self) -> bool:
        return isinstance(self.model.get_submodule(self._classifier()), DenseHead)

    def _last_layer(self) -> str:
        return f"{self._classifier()}.out" if self._is_replaced() else self.backbone.head


class HeadOutput(NamedTuple):
    """The logits of one head, float [N, classes], and the weight of their loss."""

    weight: float
    logits: Tensor


def build_network(
    backbone: Backbone, classes: int, head: Head | None = None, *, auxiliary: bool = False
) -> Network:
    """Build a network for `classes` classes, with random weights.

    Args:
        backbone: the catalogue's entry.
        classes: number of classes.
        head: the layers between features and logits; None: the architecture's own classifier.
        auxiliary: whether to add the auxiliary heads, which only training uses.

    Raises SchemaError if the head does not fit the number of classes.
    """
    head = head or Head()
    width = head.width(classes)
    if backbone.library == "timm":
        model = timm.create_model(backbone.constructor, pretrained=False, num_classes=width)
    elif backbone.library != "torchvision":  # another package's own module
        module = importlib.import_module(backbone.library)
        model = getattr(module, backbone.constructor)(num_classes=width)
    else:
        # GoogLeNet and Inception v3 warn about their initialisation unless it is set.
        options = {"aux_logits": auxiliary, "init_weights": True} if backbone.auxiliary else {}
        model = torchvision.models.get_model(
            backbone.constructor, weights=None, num_classes=width, **options
        )
    install_head(model, backbone, head, width)
    return Network(model, backbone)


def frozen_blocks(network: Network, trainable_blocks: int | None) -> int:
    """How many blocks are frozen if the last `trainable_blocks` train; None: all train."""
    return max(0, len(network.blocks()) - trainable_blocks) if trainable_blocks is not None else 0


def class_logits(logits: Tensor) -> Tensor:
    """`edgetl.runtime.softmax.class_logits` for tensors: a single output z becomes [0, z].

    The cross-entropy of [0, z] equals the binary cross-entropy of z, so both kinds of head train
    with the same loss.
    """
    return F.pad(logits, (1, 0)) if logits.shape[-1] == 1 else logits


def training_logits(network: Network, pixels: Tensor) -> tuple[HeadOutput, ...]:
    """Run a network in training mode; returns the main output, then those of auxiliary heads.

    Args:
        network: in training mode.
        pixels: the batch, as the network takes it.

    GoogLeNet's paper adds 0.3 times the loss of each (Szegedy et al. 2015, "Going Deeper with
    Convolutions"), TensorFlow's training script of Inception v3 0.4 times (for Szegedy et al.
    2016, "Rethinking the Inception Architecture for Computer Vision").
    """
    outputs = network.model(pixels)
    main, *auxiliary = [outputs] if isinstance(outputs, Tensor) else outputs
    shares = [head.weight for head in network.backbone.auxiliary]
    added = (HeadOutput(w, class_logits(z)) for w, z in zip(shares, auxiliary, strict=False))
    return HeadOutput(1.0, class_logits(main)), *added


def _holds(model: nn.Module, path: str) -> bool:
    """Whether a module exists; the network may have been built without auxiliary heads."""
    return any(name == path for name, _ in model.named_modules())


def freeze_all_but_last(network: Network, trainable_blocks: int | None) -> list[nn.Module]:
    """Freeze everything before the last `trainable_blocks` blocks; None freezes nothing.

    The head and the layers between it and the blocks always train. Returns the frozen batch norms,
    which must stay in eval mode: otherwise their running statistics would still change.
    """
    if trainable_blocks is None:
        return []
    blocks = network.blocks()
    frozen_count = frozen_blocks(network, trainable_blocks)
    trained = blocks[frozen_count:]
    trainable = {id(p) for block in trained for p in block.parameters()}
    trunk = {id(p) for block in blocks for p in block.parameters()}
    reached_trunk = False
    for parameter in network.model.parameters():
        reached_trunk = reached_trunk or id(parameter) in trunk
        after_trunk = reached_trunk and id(parameter) not in trunk
        parameter.requires_grad = id(parameter) in trainable or after_trunk
    return [m for m in network.model.modules() if _is_frozen_norm(m)]


def _is_frozen_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and not any(
        p.requires_grad for p in module.parameters()
    )


def features(network: Network, pixels: Tensor) -> Tensor:
    """Run the network on a batch; returns the input of its head, float [N, features]."""
    with head_input(network) as seen:
        network.model(pixels)
    return seen[0]


@contextmanager
def head_input(network: Network) -> Iterator[list[Tensor]]:
    """A list that gets the input of the head, float [N, features], in each run of the network."""
    seen: list[Tensor] = []

    def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(torch.flatten(inputs[0], 1))

    hook = network.head().register_forward_pre_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()
