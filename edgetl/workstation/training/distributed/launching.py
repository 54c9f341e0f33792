"""Starting the processes of `--nproc` on this machine, and ending them together."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from edgetl.core.errors import EdgetlError
from edgetl.workstation.training.distributed.environment import LAUNCHER

_LOOPBACK = "127.0.0.1"
# When one has ended with an error, the others notice within seconds, unless they are busy or
# stuck. Then they are told to end, and at last killed.
_NOTICE_S, _GRACE_S = 20.0, 5.0
_POLL_S = 0.1


def launch(command: Sequence[str], count: int) -> int:
    """Run a command in `count` processes that train together; returns their exit code.

    All have ended when it returns. Ctrl-C and SIGTERM are passed on to them: a KeyboardInterrupt or
    SystemExit is raised when they have ended.

    Args:
        command: as for `subprocess.Popen`. Each process gets torchrun's environment variables.
        count: how many.

    Raises EdgetlError if a process is killed and none of the others has reported it.
    """
    processes: list[subprocess.Popen[bytes]] = []
    try:
        port = _free_port()
        for rank in range(count):
            environment = {**os.environ, **_variables(rank, count, port)}
            # In a session of its own: Ctrl-C in the terminal reaches it once, through here.
            processes.append(subprocess.Popen(command, env=environment, start_new_session=True))
        return _exit_code(_wait(processes))
    except KeyboardInterrupt:
        _tell(processes, signal.SIGINT)
        raise
    except SystemExit:
        _tell(processes, signal.SIGTERM)
        raise
    finally:
        _end(processes)


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> list[int | None]:
    """Wait until all have ended, or one with an error and the time of the others is over."""
    failed_at: float | None = None
    while True:
        codes = [process.poll() for process in processes]
        if all(code is not None for code in codes):
            return codes
        if any(codes) and failed_at is None:
            failed_at = time.monotonic()
        if failed_at is not None and time.monotonic() - failed_at > _NOTICE_S:
            return codes
        time.sleep(_POLL_S)


def _exit_code(codes: Sequence[int | None]) -> int:
    """The exit code of all. Raises EdgetlError if one was killed and nobody reported it."""
    reported = [code for code in codes if code is not None and code > 0]
    if reported:
        return reported[0]
    for rank, code in enumerate(codes):
        if code is not None and code < 0:
            raise EdgetlError(
                f"Process {rank} of {len(codes)} was ended by {signal.Signals(-code).name}.",
                hint="if the memory is used up, use fewer processes or a smaller --set "
                "finetune.batch=...; if whole epochs are kept, --resume goes on.",
            )
    return 0


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End the processes that still run, and wait for all."""
    for told in (None, signal.SIGTERM, signal.SIGKILL):
        if told:
            _tell(processes, told)
        until = time.monotonic() + (_GRACE_S if told != signal.SIGKILL else 60.0)
        while any(process.poll() is None for process in processes):
            if time.monotonic() > until:
                break
            time.sleep(_POLL_S)
        else:
            return


def _tell(processes: Sequence[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for process in processes:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)


def _variables(rank: int, count: int, port: int) -> dict[str, str]:
    """What torchrun sets on a single machine, and the loopback device for gloo."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    loopback = "lo" if sys.platform == "linux" else "lo0"
    return {
        **{name: str(number) for name, number in numbers.items()},
        "MASTER_ADDR": _LOOPBACK,
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", loopback),
        # torch prints a stack trace for each connection that ends; edgetl says who ended.
        "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "FATAL"),
        LAUNCHER: str(os.getpid()),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])
