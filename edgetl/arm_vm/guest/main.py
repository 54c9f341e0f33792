"""Run in the emulated machine: each engine in its own process, so that a crash ends only that.

Results are printed as lines on the machine's console. This process stays small, because its memory
is part of the board's.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

import msgspec

from edgetl.arm_vm.messages import VERDICT, BoardJob, BoardResult, EngineTask, say
from edgetl.core.schema import from_json, to_json

JOB_FILE = Path("/job/job.json")
MADE_PICTURE = Path("/tmp/made.jpg")
# The worker stores its result so far here before it runs the engine, which may crash.
PARTIAL_RESULT = Path("/tmp/verdict.json")
# tflite-runtime needs an older numpy than the others, so it has a folder of its own.
_SITES = {"tflite-runtime": "/opt/tflite:/opt/site:/job"}
_SITE = "/opt/site:/job"
# Limits of a process's CPU time in the machine; a second is a thousand million instructions.
_LIMIT_S = 300
_PICTURE_LIMIT_S = 20
_LOOK_EVERY_S = 10


def main() -> None:
    """Run every task of `/job/job.json`; print a result for each, also if its worker fails."""
    job = from_json(JOB_FILE.read_bytes(), BoardJob, where="the job")
    command = [sys.executable, "-m", "edgetl.arm_vm.guest.made_picture", str(MADE_PICTURE)]
    subprocess.run(command, check=True)
    for task in job.tasks:
        PARTIAL_RESULT.unlink(missing_ok=True)
        failure = _run_worker(task)
        if failure:
            say(VERDICT, msgspec.structs.replace(_known(task), status="crashed", detail=failure))


def _known(task: EngineTask) -> BoardResult:
    """The result that the worker stored before it failed, else an empty one."""
    if PARTIAL_RESULT.exists():
        return from_json(PARTIAL_RESULT.read_bytes(), BoardResult, where="the worker's verdict")
    return BoardResult(artifact=task.artifact, engine=task.engine, status="absent")


def _run_worker(task: EngineTask) -> str:
    """Run a task in a worker process; returns why it failed, or "" if it did not."""
    kills_before = _out_of_memory_kills()
    command = [sys.executable, "-X", "faulthandler", "-m", "edgetl.arm_vm.guest.worker"]
    environment = {**os.environ, "PYTHONPATH": _SITES.get(task.engine, _SITE)}
    limit_s = _LIMIT_S + _PICTURE_LIMIT_S * len(task.pictures)
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors, env=environment) as worker,
    ):
        _hand_over(task, worker)
        while not _ended(worker):
            if _instructions_s(worker.pid) > limit_s:
                worker.kill()
                return f"did not finish within {limit_s} thousand million instructions"
        code = worker.wait()
        if code and _out_of_memory_kills() > kills_before:
            return "killed: the board's memory was used up"
        return reason(code, _tail(errors)) if code else ""


def _hand_over(task: EngineTask, worker: "subprocess.Popen[bytes]") -> None:
    assert worker.stdin is not None
    # A broken pipe: the worker ended at once; its exit code is reported.
    with contextlib.suppress(BrokenPipeError):
        worker.stdin.write(to_json(task).encode())
        worker.stdin.close()


def _ended(worker: "subprocess.Popen[bytes]") -> bool:
    """Wait up to `_LOOK_EVERY_S` for a process to end, without polling; returns whether it has."""
    # The machine's clock cannot limit a worker: it leaps ahead while all processes wait for a disk.
    # Nor can RLIMIT_CPU: with it Linux counts a process's time in ticks of four milliseconds.
    handle = os.pidfd_open(worker.pid)
    try:
        return bool(select.select([handle], [], [], _LOOK_EVERY_S)[0])
    finally:
        os.close(handle)


def _instructions_s(process: int) -> float:
    """The CPU time of a process in seconds, each a thousand million instructions."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def reason(code: int, stderr: str) -> str:
    """Why a process failed: Python's fatal error if it printed one, else the last line.

    Args:
        code: the exit code; negative: the number of the signal that ended it.
        stderr: its standard error output.
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    fatal = next((line for line in lines if line.startswith("Fatal Python error")), "")
    message = fatal or (lines or ["it printed no error"])[-1]
    ended = f"ended by {signal.Signals(-code).name}" if code < 0 else "failed"
    return f"{ended}: {message[:200]}"


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0, os.SEEK_END)
    errors.seek(max(0, errors.tell() - 8192))
    return errors.read().decode(errors="replace")


def _out_of_memory_kills() -> int:
    """How many processes Linux has killed because memory ran out."""
    for line in Path("/proc/vmstat").read_text().splitlines():
        name, _, count = line.partition(" ")
        if name == "oom_kill":
            return int(count)
    return 0


if __name__ == "__main__":
    main()
