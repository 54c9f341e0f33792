"""A network of a few hundred weights with a stem, three blocks and a head, and what it learns."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from edgetl.core.progress import Progress, Silent
from edgetl.workstation.backbones.build import Network
from edgetl.workstation.backbones.catalogue import find_backbone
from edgetl.workstation.recipe import Recipe, override
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.decisions import Decisions
from edgetl.workstation.training.distributed.ranks import ALONE, Ranks
from edgetl.workstation.training.pixel_cache import PixelSet
from edgetl.workstation.training.preparation import prepare, with_flip
from edgetl.workstation.training.resume import Best, read_state
from edgetl.workstation.training.setup import TrainingSetup
from edgetl.workstation.training.trainer import EpochEnd, Trainer
from edgetl.workstation.training.training_pixels import TrainingPictures
from tests.making import KINDS, PLAIN, draw

_ENTRY = msgspec.structs.replace(find_backbone("resnet18"), head="fc", trunk=("blocks",))
NOTHING = Best()


class TinyNet(nn.Module):
    """[N, 3, S, S] -> [N, classes]."""

    def __init__(self, classes: int = 3, *, norms: bool = True) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, stride: int) -> nn.Module:
            conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
            norm = nn.BatchNorm2d(outputs) if norms else nn.Identity()
            return nn.Sequential(conv, norm, nn.ReLU(inplace=True))

        self.stem = block(3, 4, 2)
        # The second is depthwise and strided, as the networks for phones have them.
        depthwise = nn.Conv2d(4, 4, 3, 2, padding=1, groups=4, bias=False)
        self.blocks = nn.Sequential(block(4, 4, 1), depthwise, block(4, 8, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.blocks(self.stem(x))).flatten(1))


def tiny_network(classes: int = 3, *, norms: bool = True, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return Network(TinyNet(classes, norms=norms), _ENTRY)


def made(count: int = 12, size_px: int = 32) -> PixelSet:
    """Pictures of three kinds in turn."""
    pixels = [np.asarray(draw(KINDS[i % 3], i, size_px, size_px)) for i in range(count)]
    return PixelSet(np.stack(pixels), np.arange(count) % 3)


def recipe(*more: str) -> Recipe:
    basis = ("precision=fp32", "finetune.batch=6", "finetune.epochs=2", "weights=none")
    return override(Recipe(), [*basis, *more])


def setup_of(
    wanted: Recipe,
    network: Network | None = None,
    *,
    train: PixelSet | None = None,
    val: PixelSet | None = None,
    progress: Progress | None = None,
    size_px: int = 32,
    device: str = "cpu",
    ranks: Ranks = ALONE,
) -> TrainingSetup:
    network, compute = network or tiny_network(), Compute(wanted, device, ranks)
    compute.place_for_training(network.model)
    shown = progress or Silent()
    return TrainingSetup(
        network,
        TrainingPictures(*2 * [train or made(size_px=size_px)]),
        val,
        msgspec.structs.replace(PLAIN, size_px=size_px),
        wanted,
        compute,
        shown,
        Decisions(None, shown),
    )


def trainer(
    wanted: Recipe,
    network: Network | None = None,
    *,
    prepared: bool = False,
    state: Path | None = None,
    **more: Any,
) -> Trainer:
    """`prepared`: by the recipe's probe; `state`: goes on from that file."""
    setup = setup_of(wanted, network, **more)
    resumed = read_state(state, setup.compute.device) if state else None
    augment = prepare(setup) if prepared else wanted.augmentation
    return Trainer(setup, with_flip(augment, resumed.flip) if resumed else augment, resumed)


def train_all(it: Trainer) -> list[EpochEnd]:
    return list(it.epochs(lambda: NOTHING))


def weights(network: Network) -> dict[str, Tensor]:
    """A copy of them."""
    return {name: t.detach().clone() for name, t in network.model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
