"""The state that an interrupted run resumes from: `resume.pt` in its folder."""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from edgetl.core.errors import EdgetlError, first_line
from edgetl.core.files import atomic_write
from edgetl.workstation.training.distributed.ranks import ALONE, Ranks


class Best(NamedTuple):
    """The best epoch on the validation part so far.

    Attributes:
        loss: its calibrated loss; infinite if there is no such epoch.
        top1: its fraction of correct predictions; None if there is no such epoch.
        epoch: the last epoch with this loss (0: the probe).
        since: the first epoch with this loss: none has been better since.
    """

    loss: float = math.inf
    top1: float | None = None
    epoch: int = 0
    since: int = 0


class ResumeState(NamedTuple):
    """A run's state after a whole epoch.

    Attributes:
        path: where it was read from, or will be written.
        model, optimizer, schedule, average: state dicts; `average` is None if the recipe has none.
        epoch: how many epochs are done.
        flip: the mirror images that the run trains on.
        best: the best epoch so far.
        beside: state dict of what is trained beside the network (`BatchLoss.beside`);
            empty if nothing is.
    """

    path: Path
    model: dict[str, Any]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    average: dict[str, Any] | None
    epoch: int
    flip: str
    best: Best
    beside: dict[str, Any] = {}

    def write(self) -> None:
        """Write the file atomically. Raises EdgetlError if it cannot be written."""
        state = self._asdict() | {"best": tuple(self.best)}
        del state["path"]
        with atomic_write(self.path) as file:
            torch.save(state, file)


def read_state(path: Path, device: torch.device, ranks: Ranks = ALONE) -> ResumeState:
    """Read what `ResumeState.write` wrote. Raises EdgetlError if it cannot be used.

    Of several processes, the first reads the file and sends it to the others.
    """
    with unusable_named(path):
        data = path.read_bytes() if ranks.first else b""
    data = ranks.bytes_from_first(data)
    with unusable_named(path):
        state = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
        loss, top1, epoch, since = state["best"]
        top1 = None if top1 is None else float(top1)
        return ResumeState(
            path,
            state["model"],
            state["optimizer"],
            state["schedule"],
            state["average"],
            int(state["epoch"]),
            str(state["flip"]),
            Best(float(loss), top1, int(epoch), int(since)),
            state.get("beside", {}),  # older versions trained nothing beside the network
        )


@contextmanager
def unusable_named(path: Path) -> Iterator[None]:
    """Turn the many errors that torch raises for a damaged or foreign file into an EdgetlError."""
    try:
        yield
    except Exception as error:
        raise EdgetlError(
            f"'{path}' cannot be resumed: {first_line(error)}",
            hint="start a new run in another folder, without --resume.",
        ) from error
