"""Catalogue entry -> torch network."""

import importlib
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
        assert isinstance(head, nn.Linear)  # the catalogue's own tests hold this
        return head

    def classes(self) -> int:
        """How many classes it tells apart; a single output tells two."""
        return max(2, self.head().out_features)

    def new_layers(self) -> tuple[str, ...]:
        """Dotted paths of what pretrained weights do not fill."""
        replaced = self._classifier() if self._is_replaced() else self._last_layer()
        return replaced, *(a.last for a in self.backbone.auxiliary)

    def head_parameters(self) -> list[nn.Parameter]:
        """Whatever starts from random values and so learns at the head's rate."""
        paths = (p for p in self.new_layers() if _holds(self.model, p))
        return [p for path in paths for p in self.model.get_submodule(path).parameters()]

    def blocks(self) -> list[nn.Module]:
        """The trunk's blocks that have something to learn, first to last."""
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
    """Logits float [N, classes], and how much their loss counts."""

    share: float
    logits: Tensor


def build_network(
    backbone: Backbone, classes: int, head: Head | None = None, *, auxiliary: bool = False
) -> Network:
    """A network with random weights that answers for `classes` classes.

    Args:
        backbone: the catalogue's entry.
        classes: how many there are.
        head: how its features become answers; None: by the architecture's own classifier.
        auxiliary: whether to add the auxiliary heads that training learns with.

    Raises SchemaError where the head does not fit that number of classes.
    """
    head = head or Head()
    width = head.width(classes)
    if backbone.library == "timm":
        model = timm.create_model(backbone.constructor, pretrained=False, num_classes=width)
    elif backbone.library != "torchvision":  # another package's own module
        module = importlib.import_module(backbone.library)
        model = getattr(module, backbone.constructor)(num_classes=width)
    else:
        # These two would warn of a change in how they start off unless it is decided here.
        options = {"aux_logits": auxiliary, "init_weights": True} if backbone.auxiliary else {}
        model = torchvision.models.get_model(
            backbone.constructor, weights=None, num_classes=width, **options
        )
    install_head(model, backbone, head, width)
    return Network(model, backbone)


def frozen_blocks(network: Network, trainable_blocks: int | None) -> int:
    """How many blocks stay frozen where the last `trainable_blocks` learn; None: all learn."""
    return max(0, len(network.blocks()) - trainable_blocks) if trainable_blocks is not None else 0


def class_logits(logits: Tensor) -> Tensor:
    """As `edgetl.evaluation.metrics.class_logits`, for tensors: a single output z becomes [0, z].

    The cross-entropy of [0, z] is z's binary cross-entropy, so both kinds of head train alike.
    """
    return F.pad(logits, (1, 0)) if logits.shape[-1] == 1 else logits


def training_logits(network: Network, pixels: Tensor) -> tuple[HeadOutput, ...]:
    """What a network in training mode answers: the main logits, then any auxiliary heads'.

    GoogLeNet's paper adds 0.3 times the loss of each (Szegedy et al. 2015, "Going Deeper with
    Convolutions"), TensorFlow's training script of Inception v3 0.4 times (for Szegedy et al.
    2016, "Rethinking the Inception Architecture for Computer Vision").
    """
    answer = network.model(pixels)
    main, *auxiliary = [answer] if isinstance(answer, Tensor) else answer
    shares = [head.weight for head in network.backbone.auxiliary]
    added = (HeadOutput(w, class_logits(z)) for w, z in zip(shares, auxiliary, strict=False))
    return HeadOutput(1.0, class_logits(main)), *added


def _holds(model: nn.Module, path: str) -> bool:
    """Whether a module is there; auxiliary heads may have been left away."""
    return any(name == path for name, _ in model.named_modules())


def freeze_all_but_last(network: Network, trainable_blocks: int | None) -> list[nn.Module]:
    """Freeze everything before the last `trainable_blocks` blocks; None freezes nothing.

    The head and whatever stands between it and the blocks always learn. Returns the frozen
    modules: their batch-norms must stay in eval mode, or they would still drift.
    """
    if trainable_blocks is None:
        return []
    blocks = network.blocks()
    frozen_count = frozen_blocks(network, trainable_blocks)
    after = blocks[frozen_count:]
    learning = {id(p) for block in after for p in block.parameters()}
    trunk = {id(p) for block in blocks for p in block.parameters()}
    reached_trunk = False
    for parameter in network.model.parameters():
        reached_trunk = reached_trunk or id(parameter) in trunk
        behind_trunk = reached_trunk and id(parameter) not in trunk
        parameter.requires_grad = id(parameter) in learning or behind_trunk
    return [m for m in network.model.modules() if _is_frozen_norm(m)]


def _is_frozen_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and not any(
        p.requires_grad for p in module.parameters()
    )


def features(network: Network, pixels: Tensor) -> Tensor:
    """What the head sees for a batch the network takes: float [N, features]."""
    seen: list[Tensor] = []
    hook = network.head().register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    try:
        network.model(pixels)
    finally:
        hook.remove()
    return torch.flatten(seen[0], 1)
