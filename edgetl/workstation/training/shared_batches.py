"""One process's share of each training batch."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from edgetl.core.errors import EdgetlError
from edgetl.workstation.backbones.build import Network
from edgetl.workstation.training.batches import Batches, StepInputs
from edgetl.workstation.training.distributed.ranks import Ranks
from edgetl.workstation.training.random_draws import Draws


class SharedBatches:
    """Batches of which this process takes its share.

    A picture keeps the random numbers that it has in the whole batch, and is mixed with the same
    other picture as there (`mixup.Mix`). So with mixup or CutMix the inputs of n pictures are 2n
    rows: the process's own pictures, and the picture that each of them is mixed with.
    """

    def __init__(self, whole: Batches, ranks: Ranks, *, mixed: bool) -> None:
        self._whole, self._ranks, self._mixed = whole, ranks, mixed

    @property
    def side_px(self) -> int:
        return self._whole.side_px

    def learner(self, network: Network) -> Network:
        return self._whole.learner(network)

    def begin(self, epoch: int, order: NDArray[np.int64]) -> None:
        self._whole.begin(epoch, order)

    def numbers(self, part: slice) -> Tensor:
        return self._whole.numbers(part)

    def inputs(self, part: slice | NDArray[np.int64]) -> StepInputs:
        assert isinstance(part, slice)
        own = self._ranks.share(part.stop - part.start)
        if not self._mixed:
            return self._whole.inputs(slice(part.start + own.start, part.start + own.stop))
        partners = Draws(self._whole.numbers(part)).partners()[own].cpu().numpy()
        rows = np.concatenate([np.arange(own.start, own.stop), partners])
        return self._whole.inputs(part.start + rows)

    def batch(self, pictures: Tensor, draws: Draws) -> Tensor:
        return self._whole.batch(pictures, draws)

    def teacher_batch(self, pictures: Tensor, draws: Draws) -> Tensor | None:
        return self._whole.teacher_batch(pictures, draws)

    def held_out(self) -> Iterator[Tensor]:
        return self._whole.held_out()


def require_enough_pictures(pictures: int, steps: int, ranks: Ranks) -> None:
    """Raise EdgetlError if an epoch has a step with fewer pictures than there are processes."""
    least = pictures // steps
    if ranks.count > least:
        raise EdgetlError(
            f"{ranks.count} processes cannot share steps of {least} pictures.",
            hint=f"use at most {least} processes, or a larger --set finetune.batch=...",
        )
