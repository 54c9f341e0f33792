"""Which parts of a network learn, and which norms keep their statistics."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgetl.workstation.backbones.build import Network, freeze_all_but_last
from edgetl.workstation.recipe import FineTune


class Freezing:
    """Freezes the blocks that the recipe does not train, and thaws them where it says so."""

    def __init__(self, network: Network, settings: FineTune) -> None:
        self._network, self._settings = network, settings
        self._norms = freeze_all_but_last(network, settings.trainable_blocks)

    def thaw(self, epoch: int) -> bool:
        """Let one more block learn from an epoch (from 0) on; returns whether one may have."""
        settings = self._settings
        if not settings.unfreeze_every or settings.trainable_blocks is None:
            return False
        blocks = settings.trainable_blocks + epoch // settings.unfreeze_every
        if blocks > len(self._network.blocks()):  # last of all, what stands before them
            self._network.model.requires_grad_(True)
            self._norms = []
        else:
            self._norms = freeze_all_but_last(self._network, blocks)
        return True

    def adaptation_mode(self, model: nn.Module) -> None:
        """As the network is while its norms are adapted: only those of frozen blocks stay."""
        model.train()
        for norm in self._norms:
            norm.eval()

    def train_mode(self, model: nn.Module) -> None:
        """As a step sees the network or a part of it: frozen norms stay as they are."""
        model.train()
        frozen = self._norms
        if self._settings.norms == "frozen":
            frozen = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        for norm in frozen:
            norm.eval()

    def train_mode_of_copy(self, copied: nn.Module) -> None:
        """Likewise for a copy of the whole network, whose modules are its own."""
        frozen = {id(norm) for norm in self._norms}
        copied.train()
        for name, module in self._network.model.named_modules():
            if id(module) in frozen:
                copied.get_submodule(name).eval()
