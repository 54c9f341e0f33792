"""Which parts of a network are trained, and which norms keep their statistics."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgetl.workstation.backbones.build import Network, freeze_all_but_last
from edgetl.workstation.recipe import FineTune


class Freezing:
    """Freezes the blocks that the recipe does not train, and unfreezes them on its schedule."""

    def __init__(self, network: Network, settings: FineTune) -> None:
        self._network, self._settings = network, settings
        self._norms = freeze_all_but_last(network, settings.trainable_blocks)

    def thaw(self, epoch: int) -> bool:
        """Unfreeze the blocks due in an epoch (from 0); returns whether there may be new ones."""
        settings = self._settings
        if not settings.unfreeze_every or settings.trainable_blocks is None:
            return False
        blocks = settings.trainable_blocks + epoch // settings.unfreeze_every
        if blocks > len(self._network.blocks()):  # finally the layers before the blocks
            self._network.model.requires_grad_(True)
            self._norms = []
        else:
            self._norms = freeze_all_but_last(self._network, blocks)
        return True

    def adaptation_mode(self, model: nn.Module) -> None:
        """Set training mode to adapt the norms: only those of frozen blocks stay in eval mode."""
        model.train()
        for norm in self._norms:
            norm.eval()

    def train_mode(self, model: nn.Module) -> None:
        """Set training mode on the network or a part of it; frozen norms stay in eval mode."""
        model.train()
        frozen = self._norms
        if self._settings.norms == "frozen":
            frozen = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        for norm in frozen:
            norm.eval()

    def train_mode_of_copy(self, copied: nn.Module) -> None:
        """Set training mode on a copy of the network; norms of frozen blocks stay in eval mode."""
        frozen = {id(norm) for norm in self._norms}
        copied.train()
        for name, module in self._network.model.named_modules():
            if id(module) in frozen:
                copied.get_submodule(name).eval()
