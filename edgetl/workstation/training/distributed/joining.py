"""Joining the processes that train one network, as torchrun or `--nproc` started them."""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import NoReturn

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from edgetl.core.errors import EdgetlError, first_line
from edgetl.workstation.training.distributed.environment import (
    LAUNCHER,
    RanksFacts,
    SaidElsewhereError,
    ranks_named_by,
)
from edgetl.workstation.training.distributed.liveness import Liveness, LostError
from edgetl.workstation.training.distributed.ranks import ALONE, Ranks

# How long a process waits for the others to start, and for any exchange with one that still
# responds: while one writes a checkpoint or decodes more pictures, the others wait.
_STARTING, _EXCHANGE = timedelta(minutes=5), timedelta(minutes=30)

_PR_SET_PDEATHSIG = 1  # of Linux's prctl(2)


@contextmanager
def joined_ranks(device: str) -> Iterator[Ranks]:
    """Join the other processes for the time of a block; one process alone joins nothing.

    Sets this process's number of CPU threads to its share of the cores, unless OMP_NUM_THREADS is
    set. If the block ends because another process has ended or no longer responds, the error names
    it.

    Args:
        device: the `--device` of the run, which decides how tensors are exchanged.

    Raises EdgetlError: incomplete or impossible environment variables, processes that do not come.
    """
    facts = ranks_named_by(os.environ)
    if facts is None or facts.count == 1:
        yield ALONE
        return
    _end_with_launcher()
    ranks = Ranks(facts.rank, facts.count, facts.local_rank, facts.local_count)
    _share_cores(ranks)
    store = _connected(facts, is_host=facts.rank == 0 and not facts.hosted)
    _make_group(facts, store, device)
    # A connection of its own: it goes on while the other one waits.
    own = PrefixStore(f"edgetl-alive-{facts.restarts}", _connected(facts, is_host=False))
    with Liveness(own, ranks) as liveness:
        try:
            yield ranks
            ranks.gather("done")
        except BaseException as error:
            lost = liveness.why_lost() if _may_be_lost(error) else None
            _drop_locals(error)
            said = _leave(liveness, _reason(lost or error), ranks)
            _raise_in_one_voice(lost or error, ranks, said=said, cause=error)
        else:
            _leave(liveness, "done", ranks)


def _make_group(facts: RanksFacts, store: Store, device: str) -> None:
    """Make torch's group of all processes: tensors on GPUs go by nccl, all others by gloo."""
    on_gpu = torch.cuda.is_available() and device not in ("cpu", "mps")
    if on_gpu and facts.local_count <= torch.cuda.device_count():
        torch.cuda.set_device(facts.local_rank)
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            store=PrefixStore(f"edgetl-group-{facts.restarts}", store),
            rank=facts.rank,
            world_size=facts.count,
            timeout=_EXCHANGE,
        )
    except RuntimeError as error:
        raise EdgetlError(
            f"Process {facts.rank} cannot join the others: {first_line(error)}",
            hint="start all processes again; between machines, every port has to be open.",
        ) from error


def _drop_locals(error: BaseException | None) -> None:
    """Free what the frames of an error hold: gloo closes its connections with their last user."""
    while error:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def _leave(liveness: Liveness, reason: str, ranks: Ranks) -> bool:
    """Leave the other processes; returns whether process 0 ends for the same reason."""
    liveness.say_ended(reason)
    # Closes the connections, so that processes that wait for this one stop at once.
    with suppress(RuntimeError):
        dist.destroy_process_group()
    if reason == "interrupted":  # so are the others: no need to wait for each other
        return False
    same = not ranks.first and reason != "done" and liveness.first_also_ended(reason)
    liveness.leave()
    return same


def _connected(facts: RanksFacts, *, is_host: bool) -> TCPStore:
    try:
        return TCPStore(
            facts.address, facts.port, facts.count, is_master=is_host, timeout=_STARTING,
            wait_for_workers=False,
        )  # fmt: skip
    except RuntimeError as error:
        raise EdgetlError(
            f"Process {facts.rank} cannot reach {facts.address}:{facts.port}: {first_line(error)}",
            hint="MASTER_ADDR and MASTER_PORT name a free port of the machine of process 0.",
        ) from error


def _end_with_launcher() -> None:
    """Have this process killed when the one that started it is; does nothing except on Linux."""
    launcher = os.environ.get(LAUNCHER)
    if launcher and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(launcher):  # it ended before the call
            os._exit(1)


def _share_cores(ranks: Ranks) -> None:
    if not os.environ.get("OMP_NUM_THREADS"):
        count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
        torch.set_num_threads(max(1, count // ranks.local_count))


def _may_be_lost(error: BaseException) -> bool:
    """Whether it may mean that another process ended: gloo and nccl raise nothing more specific."""
    return isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError)


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "interrupted"
    return "lost" if isinstance(error, LostError) else f"failed: {error}"


def _raise_in_one_voice(
    error: BaseException, ranks: Ranks, *, said: bool, cause: BaseException
) -> NoReturn:
    """Raise the error so that only one process reports it, with its number unless that is 0."""
    if isinstance(error, LostError):
        if error.interrupted:
            raise KeyboardInterrupt from cause
        if error.spoken:
            raise error from cause
        raise SaidElsewhereError(str(error)) from cause
    if said:
        raise SaidElsewhereError(str(error)) from cause
    if isinstance(error, EdgetlError) and not ranks.first:
        raise EdgetlError(f"{ranks.named(ranks.rank)}: {error}", hint=error.hint) from cause
    raise error
