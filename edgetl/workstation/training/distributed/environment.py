"""What the environment variables of torchrun and `--nproc` say about this process."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgetl.core.errors import EdgetlError

_NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


# Set in the processes that `--nproc` starts, to the number of the process that started them.
LAUNCHER = "EDGETL_LAUNCHER"


class SaidElsewhereError(EdgetlError):
    """An error that another process reports: this one ends silently."""


@dataclass(frozen=True)
class RanksFacts:
    """One of several processes, and where they meet.

    Attributes:
        rank, count: its number, from 0, and how many there are.
        local_rank, local_count: the same on this machine.
        address, port: where the processes meet.
        hosted: whether another process, torchrun's own, already serves that port.
        restarts: how often torchrun has started all processes anew.
    """

    rank: int
    count: int
    local_rank: int
    local_count: int
    address: str
    port: int
    hosted: bool
    restarts: str


def ranks_named_by(environment: Mapping[str, str]) -> RanksFacts | None:
    """Read the variables; None if they say nothing of several processes.

    Raises EdgetlError if some are missing or no possible numbers.
    """
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return None
    missing = [name for name in _NEEDED if name not in environment]
    if missing:
        raise _unusable(f"{', '.join(missing)} is missing")
    try:
        rank, count, local_rank, local_count = (int(environment[name]) for name in _NEEDED[:4])
        port = int(environment["MASTER_PORT"])
    except ValueError as error:
        raise _unusable(str(error)) from error
    if not (0 <= rank < count and 0 <= local_rank < local_count <= count and 0 < port < 65536):
        raise _unusable("the numbers contradict each other")
    return RanksFacts(
        rank,
        count,
        local_rank,
        local_count,
        environment["MASTER_ADDR"],
        port,
        hosted=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        restarts=environment.get("TORCHELASTIC_RESTART_COUNT", "0"),
    )


def several(environment: Mapping[str, str]) -> bool:
    """Whether this process is one of several. Raises EdgetlError as `ranks_named_by` does."""
    facts = ranks_named_by(environment)
    return facts is not None and facts.count > 1


def require_pictures_for_all(batch: int, count: int) -> None:
    """Raise EdgetlError if a batch has fewer pictures than there are processes."""
    if count > batch:
        raise EdgetlError(
            f"{count} processes cannot share a batch of {batch} pictures.",
            hint=f"use at most {batch} processes, or a larger --set finetune.batch=...",
        )


def require_shareable(device: str, count: int) -> None:
    """Raise EdgetlError if a device is a single one, which several processes cannot have each."""
    if device == "mps" or ":" in device:
        raise EdgetlError(
            f"--device {device} is one device, and there are {count} processes.",
            hint="use --device cuda, which gives each process another GPU, or --device cpu.",
        )


def is_launched(environment: Mapping[str, str]) -> bool:
    """Whether `--nproc` started this process."""
    return LAUNCHER in environment


def require_one(environment: Mapping[str, str], what: str) -> None:
    """Raise EdgetlError if this is one of several processes."""
    if several(environment):
        raise EdgetlError(
            f"{what} runs in one process only.",
            hint="leave torchrun and --nproc away; only a plain run can be shared out.",
        )


def is_first(environment: Mapping[str, str]) -> bool:
    """Whether this process speaks to the user: the only one, or the one with number 0."""
    facts = ranks_named_by(environment)
    return facts is None or facts.rank == 0


def _unusable(what: str) -> EdgetlError:
    return EdgetlError(
        f"The environment variables of several processes cannot be used: {what}.",
        hint="start them by torchrun or --nproc, or unset RANK and WORLD_SIZE to train with one.",
    )
