"""The process of a command: it cleans up on SIGTERM, and its parent reports if it crashes."""

import os
import signal
import sys
import time
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from edgetl.cli.main import main, show_error
from edgetl.core.errors import EngineError

# Engines are native code: a crash ends the process before Python can report an error. These
# commands load engines in their own process, so they run in a child process; `bench` starts a
# process for each engine.
_ENGINE_COMMANDS = ("run", "evaluate", "verify", "tune")
_CRASHES = ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT")
# Ctrl-C in a terminal is sent to the child, too, which then has this time to end by itself.
_GRACE_S = 0.5
_PR_SET_PDEATHSIG = 1  # of Linux's prctl(2)


def start() -> None:
    """The entry point of `edgetl`."""
    # The main group's own options, such as --quiet, take no values and come first.
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    if command in _ENGINE_COMMANDS and hasattr(os, "fork"):
        parent = os.getpid()
        child = os.fork()
        if child:
            _wait_and_exit(child)
        _end_with(parent)
    signal.signal(signal.SIGTERM, _stop)
    main()


def _stop(number: int, _: FrameType | None) -> NoReturn:
    """Exit by an exception, so that half-written files and child processes are cleaned up."""
    sys.exit(128 + number)


def _end_with(parent: int) -> None:
    """Have this process killed when its parent ends; does nothing except on Linux."""
    if sys.platform != "linux":
        return
    import ctypes  # numpy imports it anyway

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent ended before the call
        os._exit(1)


def _wait_and_exit(child: int) -> NoReturn:
    """Wait for the child and exit as it did; print an error if it crashed or was killed."""

    def pass_on(number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT:
            time.sleep(_GRACE_S)
        os.kill(child, number)  # valid even if it has ended: it has not been waited for yet

    for passed_on in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(passed_on, pass_on)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code >= 0:
        sys.exit(code)
    ended = signal.Signals(-code)
    if ended.name in _CRASHES:
        show_error(_crash(ended))
    if ended == signal.SIGKILL:
        show_error(_killed())
    signal.signal(ended, signal.SIG_DFL)
    os.kill(os.getpid(), ended)
    sys.exit(128 + ended)


def _crash(ended: signal.Signals) -> EngineError:
    return EngineError(
        f"An engine crashed ({ended.name}).",
        hint="`edgetl bench BUNDLE` names it. Update it, or choose another with --engine.",
    )


def _killed() -> EngineError:
    return EngineError(
        "edgetl was killed (SIGKILL); most likely the memory is used up.",
        hint="`edgetl bench BUNDLE` on a larger machine shows what each engine takes.",
    )
