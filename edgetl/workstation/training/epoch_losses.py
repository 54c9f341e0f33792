"""The losses of an epoch's steps: checked after each step on a CPU, at its end on a GPU."""

from collections import deque

import torch
from torch import Tensor

from edgetl.core.errors import EdgetlError
from edgetl.workstation.training.compute import Compute

# The host queues at most this many steps on a GPU before it waits, so that the displayed progress
# is never far ahead and Ctrl-C takes effect soon.
_QUEUED_STEPS = 16


class DivergedError(EdgetlError):
    """The loss of a training step is not a finite number."""


class EpochLosses:
    """Collects an epoch's losses on the device.

    On a GPU, reading a loss waits for every step queued before it. So losses are read once, after
    the last step, and the host only waits for the step `_QUEUED_STEPS` earlier.
    """

    def __init__(self, epoch: int, steps: int, compute: Compute) -> None:
        """`epoch` counts from 1; `steps` is its number of steps."""
        self._epoch, self._steps, self._compute = epoch, steps, compute
        self._losses: list[Tensor] = []
        self._pictures: list[int] = []
        self._queued: deque[torch.cuda.Event] = deque()

    def add(self, loss: Tensor, pictures: int) -> float | None:
        """Add a step's mean loss over its pictures; returns it if it was read, else None.

        Raises DivergedError if a loss is not finite.
        """
        self._losses.append(loss)
        self._pictures.append(pictures)
        if self._compute.gpu and len(self._losses) < self._steps:
            self._wait_for_earlier()
            return None
        unchecked = self._losses if self._compute.gpu else self._losses[-1:]
        if not bool(torch.stack(unchecked).isfinite().all()):
            raise _diverged(self._epoch, self._first_bad())
        return float(loss)

    @property
    def mean(self) -> float:
        """The mean loss over all pictures so far."""
        losses = torch.stack(self._losses)
        weights = torch.tensor(self._pictures, dtype=losses.dtype, device=losses.device)
        return float((losses * weights).sum()) / sum(self._pictures)

    def _wait_for_earlier(self) -> None:
        if self._compute.device.type != "cuda":
            return
        event = torch.cuda.Event()
        event.record()
        self._queued.append(event)
        if len(self._queued) > _QUEUED_STEPS:
            self._queued.popleft().synchronize()

    def _first_bad(self) -> int:
        """The number, from 1, of the first step whose loss is not finite."""
        return 1 + int(torch.stack(self._losses).isfinite().logical_not().nonzero()[0])


def _diverged(epoch: int, step: int) -> DivergedError:
    return DivergedError(
        f"The loss stopped being a number in epoch {epoch}, step {step}.",
        hint="lower the rates: --set finetune.backbone_rate=1e-4 --set finetune.head_rate=5e-4. "
        "The checkpoint of the last good epoch is kept.",
    )
