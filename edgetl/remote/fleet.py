"""The same work on several hosts: side by side, one job on each, and each with its own result."""

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from edgetl.core.errors import EdgetlError
from edgetl.core.progress import Progress
from edgetl.remote.address import Address, RemoteError
from edgetl.remote.commands import Session
from edgetl.remote.connection import Connection, StoppedError

T = TypeVar("T")


class UntouchedError(EdgetlError):
    """A host that was not begun with, because another one failed before."""

    def __init__(self) -> None:
        super().__init__("It was left as it was, because another host failed.")


class Outcome(Generic[T]):
    """What became of the work on one host.

    Attributes:
        host: its name.
        value: the result; None if there is none.
        error: why there is no result; None if there is one.
    """

    def __init__(self, host: str, value: T | None, error: EdgetlError | None) -> None:
        self.host, self.value, self.error = host, value, error

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C came before there was a result."""
        return isinstance(self.error, StoppedError)


class FleetOptions(NamedTuple):
    """How several hosts are worked on.

    Attributes:
        ssh_config: used instead of ~/.ssh/config.
        at_once: on how many hosts at the same time.
        seed: of the random order in which they begin.
    """

    ssh_config: Path | None = None
    at_once: int = 8
    seed: int = 0


def on_hosts(
    addresses: Sequence[Address],
    work: Callable[[Session], T],
    options: FleetOptions,
    progress: Progress,
) -> list[Outcome[T]]:
    """Do some work on each host. A host that fails does not keep the others from finishing.

    Args:
        addresses: the hosts.
        work: called in a thread of its own for each host, with a session there.
        options: how.
        progress: where progress is shown.

    Returns an outcome for each host, in the order of `addresses`. At Ctrl-C what runs is ended,
    and the hosts that were not finished have a `StoppedError`.
    """
    order = list(addresses)
    random.Random(options.seed).shuffle(order)
    stop = threading.Event()

    def one(address: Address) -> T:
        if stop.is_set():
            raise StoppedError
        with Connection(address, ssh_config=options.ssh_config) as connection:
            return work(Session(connection, progress, stop))

    with (
        progress.stage("working", len(order), "hosts") as shown,
        ThreadPoolExecutor(options.at_once) as pool,
    ):
        started = {address.name: pool.submit(one, address) for address in order}
        names = {future: name for name, future in started.items()}
        try:
            for future in as_completed(names):
                failed = " failed" if future.exception() else ""
                shown.advance(1, f"{names[future]}{failed}")
        except BaseException as ended:
            stop.set()
            if not isinstance(ended, KeyboardInterrupt):
                raise
    return [_outcome(address.name, started[address.name]) for address in addresses]


def _outcome(name: str, future: "Future[T]") -> Outcome[T]:
    try:
        return Outcome(name, future.result(), None)
    except EdgetlError as error:
        return Outcome(name, None, error)


def require_all(
    outcomes: Sequence[Outcome[T]],
    failed_in: Callable[[T], bool] = lambda _: False,
    *,
    hint: str = "the table has each one's error. --hosts repeats only some of them.",
) -> None:
    """Raise an error unless every host finished its work.

    Args:
        outcomes: of all hosts.
        failed_in: whether a result holds a failure.
        hint: of the error.

    Raises KeyboardInterrupt if Ctrl-C ended it, and RemoteError that names the hosts that failed
    and those that were left as they were.
    """
    if any(one.interrupted for one in outcomes):
        raise KeyboardInterrupt
    left = [one.host for one in outcomes if isinstance(one.error, UntouchedError)]
    failed = [
        one.host
        for one in outcomes
        if one.host not in left and (one.value is None or failed_in(one.value))
    ]
    if failed:
        also = f"; left as they were: {', '.join(left)}" if left else ""
        raise RemoteError(
            f"{len(failed)} of {len(outcomes)} hosts failed: {', '.join(failed)}{also}.", hint=hint
        )
