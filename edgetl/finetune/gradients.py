"""The gradients of a batch, in as many parts as the device's memory needs."""

import math

import torch
from torch import Tensor

from edgetl.backbones.build import Network, training_logits
from edgetl.core.errors import EdgetlError, first_line
from edgetl.core.progress import Progress
from edgetl.finetune.compute import Compute
from edgetl.finetune.objective import Objective


class Gradients:
    """Forward and backward passes; remembers how many pictures at a time there is room for."""

    def __init__(
        self, objective: Objective, compute: Compute, at_once: int, progress: Progress
    ) -> None:
        self.objective = objective
        self._compute, self._at_once, self._progress = compute, at_once, progress

    def compute(self, learner: Network, batch: Tensor, targets: Tensor) -> Tensor:
        """Leave the loss's gradients in the parameters; returns the loss, still on the device.

        Args:
            learner: in training mode.
            batch: what it takes, [N, ...].
            targets: float [N, classes], each row a distribution.

        Raises EdgetlError where the device has no memory for a single picture.
        """
        while True:
            learner.model.zero_grad()
            parts = math.ceil(len(batch) / self._at_once)
            try:
                # Every so manieth picture: in file order, runs of pictures would be of one class.
                shares = [
                    self._add_part(learner, batch[i::parts], targets[i::parts], len(batch))
                    for i in range(parts)
                ]
                return torch.stack(shares).sum()
            except torch.OutOfMemoryError as error:
                self._at_once = _halved(min(self._at_once, len(batch)), error)
            # Only now: the error held on to everything the failed pass had in memory.
            torch.cuda.empty_cache()
            self._progress.say(
                f"out of GPU memory: batches now go through {self._at_once} at a time; "
                "their gradients are added up"
            )

    def _add_part(self, learner: Network, part: Tensor, targets: Tensor, whole: int) -> Tensor:
        """Add a part's gradients; returns its share in the loss of a batch of `whole`."""
        with self._compute.autocast():
            answers = training_logits(learner, part)
        losses = [a.share * self.objective(a.logits, targets) for a in answers]
        share = torch.stack(losses).sum() * (len(part) / whole)
        share.backward()
        return share.detach()


def _halved(at_once: int, error: torch.OutOfMemoryError) -> int:
    if at_once <= 1:
        raise EdgetlError(
            f"The GPU has no memory for one picture: {first_line(error)}",
            hint="use a smaller --image-size or --backbone, or free the GPU.",
        ) from error
    return at_once // 2
