"""Running a network's frozen front once, and training the rest on the cached activations."""

import copy
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgetl.core.errors import EdgetlError
from edgetl.core.progress import Progress
from edgetl.workstation.backbones.build import Network
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.forward_patches import folded_batch_norm
from edgetl.workstation.training.pixel_cache import PixelSet
from edgetl.workstation.training.scoring import batches_of

# Cached activations may take this much disk space; fewer views are cached if all take more.
ROOM_BYTES = 8 << 30
View = Callable[[Tensor, NDArray[np.int64]], Tensor]


class FrozenFront:
    """A network cut before its first trainable block.

    Attributes:
        whole: the network's model.
        tail: the part behind the cut; shares every parameter and buffer with the whole network,
            and takes the front's activations as input instead of pictures.
    """

    def __init__(self, network: Network, frozen_blocks: int) -> None:
        self.whole = network.model
        self._last = network.blocks()[frozen_blocks - 1]
        shared = [*network.model.parameters(), *network.model.buffers()]
        tail = copy.deepcopy(network.model, {id(tensor): tensor for tensor in shared})
        path = next(name for name, module in self.whole.named_modules() if module is self._last)
        _pass_through(tail, path.split("."))
        self.tail = Network(tail, network.backbone)

    def activations(self, batch: Tensor, compute: Compute) -> Tensor:
        """The front's output for a normalised batch, in the precision it ran in."""
        outputs: list[Tensor] = []

        def stop(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            outputs.append(output)
            raise _FrontDoneError

        hook = self._last.register_forward_hook(stop)
        try:
            with suppress(_FrontDoneError), torch.inference_mode(), compute.autocast():
                self.whole(batch)
        finally:
            hook.remove()
        return outputs[0]


class _FrontDoneError(Exception):
    """Ends a forward pass as soon as the front's activations are computed."""


def _pass_through(model: nn.Module, path: list[str]) -> None:
    """Replace the module at `path` and all modules before it by identities.

    Networks of the catalogue run their modules in the order in which they are registered;
    `make_batches` checks that before it uses the cut network.
    """
    first, *rest = path
    for name, module in model.named_children():
        if name == first and rest:
            _pass_through(module, rest)
            return
        setattr(model, name, nn.Identity())
        if name == first:
            return


class ActivationSet:
    """Activations of several views of each picture, and the pictures' labels.

    Stored channels last, in which the network runs fastest: [views, N, ..., C].
    """

    def __init__(self, activations: Tensor, labels: NDArray[np.int64]) -> None:
        self.activations = activations
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, chosen: NDArray[np.int64], epoch: int) -> Tensor:
        """The activations of the chosen pictures in the epoch's view, [n, C, ...]."""
        view = self.activations[epoch % len(self.activations)]
        return view[torch.from_numpy(chosen)].movedim(-1, 1)


def cache_activations(
    front: FrozenFront,
    pictures: PixelSet,
    views: Sequence[View],
    compute: Compute,
    progress: Progress,
    *,
    stage: str,
) -> ActivationSet:
    """Run every picture through the frozen front once for each view.

    Several processes share the pictures, and each of them stores all activations.

    Args:
        front: the cut network.
        pictures: N decoded pictures.
        views: functions that make a normalised batch from some pictures' pixels, uint8
            [n, S, S, 3], and indices, int64 [n]; as many are used as there is room for, but at
            least one.
        compute: device and precision.
        progress: where to show how far it is.
        stage: the name to show there.

    Raises EdgetlError if the disk has no room for the activations.
    """
    front.whole.eval()
    one = np.arange(1)
    first = front.activations(views[0](pictures.tensor(one, compute.device), one), compute)
    row_bytes = first.numel() * first.element_size() * len(pictures)
    views = views[: max(1, ROOM_BYTES // row_bytes)]
    cached = _disk_tensor((len(views), len(pictures), *first[0].movedim(0, -1).shape), first.dtype)
    count = len(views) * len(pictures)
    ranks = compute.ranks
    with folded_batch_norm(front.whole), progress.stage(stage, count, "pictures") as shown:
        for v, view in enumerate(views):
            for chosen in batches_of(len(pictures), compute.eval_batch * ranks.count):
                part = ranks.share(len(chosen))
                own = chosen[part] if part.stop > part.start else chosen[:1]  # for the shape
                batch = view(pictures.tensor(own, compute.device), own)
                output = front.activations(batch, compute).movedim(1, -1).cpu()
                rows = ranks.gather_rows(output[: part.stop - part.start])
                cached[v, torch.from_numpy(chosen)] = rows
                shown.advance(len(chosen))
    return ActivationSet(cached, pictures.labels)


def _disk_tensor(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A tensor mapped to an unnamed temporary file, which is removed when the process ends."""
    size_bytes = math.prod(shape) * dtype.itemsize
    try:
        with tempfile.TemporaryFile() as file:
            os.posix_fallocate(file.fileno(), 0, size_bytes)  # fails now if the disk is full
            pages = np.memmap(file, np.uint8, "r+", shape=(size_bytes,))
    except OSError as error:
        raise EdgetlError(
            f"No room in '{tempfile.gettempdir()}' for {size_bytes / 1e9:.1f} GB of activations: "
            f"{error.strerror}.",
            hint="make room there, or set TMPDIR to a larger disk.",
        ) from error
    return torch.from_numpy(pages).view(dtype).view(shape)
