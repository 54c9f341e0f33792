"""Catalogue entry -> torch network."""

from typing import NamedTuple

import timm
import torch
import torchvision
from torch import Tensor, nn

from edgetl.backbones.catalogue import Backbone


class Network(NamedTuple):
    """A network and the catalogue entry it was built from."""

    model: nn.Module
    backbone: Backbone

    def head(self) -> nn.Linear:
        """The final linear layer."""
        head = self.model.get_submodule(self.backbone.head)
        assert isinstance(head, nn.Linear)  # the catalogue's own tests hold this
        return head

    def blocks(self) -> list[nn.Module]:
        """The trunk's blocks, first to last."""
        return [
            block
            for name in self.backbone.trunk
            for block in self.model.get_submodule(name).children()
        ]


def build_network(backbone: Backbone, classes: int) -> Network:
    """A network with random weights and a head of `classes` outputs."""
    if backbone.library == "timm":
        model = timm.create_model(backbone.constructor, pretrained=False, num_classes=classes)
    else:
        model = torchvision.models.get_model(
            backbone.constructor, weights=None, num_classes=classes
        )
    return Network(model, backbone)


def frozen_blocks(network: Network, trainable_blocks: int | None) -> int:
    """How many blocks stay frozen where the last `trainable_blocks` learn; None: all learn."""
    return max(0, len(network.blocks()) - trainable_blocks) if trainable_blocks is not None else 0


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
