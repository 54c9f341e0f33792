"""Noticing that another process has ended or no longer responds."""

import os
import sys
import threading
import time
from contextlib import suppress
from types import TracebackType

from torch.distributed import Store  # type: ignore[attr-defined]

from edgetl.core.errors import EdgetlError
from edgetl.workstation.training.distributed.ranks import Ranks

_BEAT_S = 1.0
# A process that missed this many seconds of beats is taken for stuck, and the others end.
_STUCK_S = 40.0
# After a failed exchange, a process that misses this many seconds of beats is the one that ended.
_ENDED_S, _LOOK_S = 4.0, 7.0
# How long a process that fails waits to see whether process 0 fails in the same way.
_SAME_S = 5.0
# How long the first process, which serves the store, stays for the others to read from it.
_STAY_S = 5.0


class LostError(EdgetlError):
    """Another process has ended. Only the first of those that are left reports it.

    Attributes:
        spoken: whether this process is the one that reports it.
        interrupted: whether the other process was interrupted by the user.
    """

    def __init__(self, message: str, *, spoken: bool, interrupted: bool = False) -> None:
        super().__init__(
            message,
            hint="the last whole epoch is kept: the same command with --resume goes on, also with "
            "fewer processes.",
        )
        self.spoken, self.interrupted = spoken, interrupted


class Liveness:
    """Sends this process's beats through a store and watches those of the others, in a thread.

    If another process stops beating for 40 s, this process ends with exit code 1: its main thread
    may wait for the other one in a call that nothing else can end. What is on disk is whole,
    because every file is written atomically.

    Args:
        store: for this use alone, on a connection of its own.
        ranks: the processes.
    """

    def __init__(self, store: Store, ranks: Ranks) -> None:
        self._store, self._ranks = store, ranks
        self._others = [rank for rank in range(ranks.count) if rank != ranks.rank]
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        now = time.monotonic()
        self._seen = dict.fromkeys(self._others, ("", now))
        self._ends: dict[int, str] = {}
        self._beats = 0

    def __enter__(self) -> "Liveness":
        self._beat()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join(timeout=2 * _BEAT_S)

    def say_ended(self, reason: str) -> None:
        """Tell the others why this process ends.

        `reason` is "done", "interrupted", "lost" or "failed: ...".
        """
        self._stopped.set()
        with suppress(RuntimeError):
            self._store.set(f"end/{self._ranks.rank}", reason)

    def first_also_ended(self, reason: str) -> bool:
        """Whether process 0 ends for the same reason, which then reports it for all."""
        until = time.monotonic() + _SAME_S
        with suppress(RuntimeError):
            while time.monotonic() < until:
                self._look()
                if 0 in self._ends:
                    break
                time.sleep(0.1)
        return self._ends.get(0) == reason

    def leave(self) -> None:
        """Say that this process no longer uses the store.

        Process 0, which serves it, waits for the others to leave.
        """
        with suppress(RuntimeError):
            self._store.set(f"left/{self._ranks.rank}", "")
            if self._ranks.first:
                until = time.monotonic() + _STAY_S
                while time.monotonic() < until and self._are_left():
                    time.sleep(0.05)

    def _are_left(self) -> bool:
        """Whether another process may still read from the store."""
        self._look()
        silent = self._silent(_ENDED_S)
        return not all(
            rank in silent or self._store.check([f"left/{rank}"]) for rank in self._others
        )

    def why_lost(self) -> LostError | None:
        """After a failed exchange: which process ended; None if all still run."""
        until = time.monotonic() + _LOOK_S
        while time.monotonic() < until:
            served = True
            try:
                self._look()
            except RuntimeError:  # process 0 is gone, but may have said why before
                served = False
            for rank, reason in self._ends.items():
                if reason == "interrupted":
                    return self._lost(rank, "was interrupted", interrupted=True)
                if reason.startswith("failed: "):
                    return self._lost(rank, reason)
            silent = self._silent(_ENDED_S) if served else [0]
            if silent:
                return self._lost(silent[0], "has ended")
            time.sleep(_BEAT_S / 4)
        return None

    def _lost(self, rank: int, what: str, *, interrupted: bool = False) -> LostError:
        # A process that failed or was interrupted says so itself.
        gone = {rank, *self._silent(_ENDED_S)}
        left = [other for other in range(self._ranks.count) if other not in gone]
        spoken = what == "has ended" and self._ranks.rank == min(left)
        return LostError(
            f"Process {rank} of {self._ranks.count} {what}.", spoken=spoken, interrupted=interrupted
        )

    def _watch(self) -> None:
        while not self._stopped.wait(_BEAT_S):
            try:
                self._beat()
                self._look()
            except RuntimeError:  # the store is gone: the next exchange fails and says so
                return
            silent = self._silent(_STUCK_S)
            if silent and not self._stopped.is_set():
                self._end_because_of(silent)

    def _end_because_of(self, silent: list[int]) -> None:
        lost = self._lost(silent[0], f"has not responded for {_STUCK_S:.0f} s")
        if self._ranks.rank == min({*range(self._ranks.count)} - {*silent}):
            print(f"Error: {lost}\nHint: {lost.hint}", file=sys.stderr, flush=True)
        with suppress(RuntimeError):
            self._store.set(f"end/{self._ranks.rank}", "lost")
        os._exit(1)

    def _beat(self) -> None:
        self._beats += 1
        self._store.set(f"beat/{self._ranks.rank}", str(self._beats))

    def _look(self) -> None:
        """Read the others' beats and ends."""
        with self._lock:
            now = time.monotonic()
            for rank in self._others:
                if self._store.check([f"end/{rank}"]):
                    self._ends[rank] = self._store.get(f"end/{rank}").decode()
                if self._store.check([f"beat/{rank}"]):
                    beat = self._store.get(f"beat/{rank}").decode()
                    if beat != self._seen[rank][0]:
                        self._seen[rank] = (beat, now)

    def _silent(self, seconds: float) -> list[int]:
        """The processes that have not said that they end, and whose last beat is this old."""
        now = time.monotonic()
        return [
            rank
            for rank, (_, since) in sorted(self._seen.items())
            if rank not in self._ends and now - since >= seconds
        ]
