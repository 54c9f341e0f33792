"""Runs in the emulated machine: asks each engine in a process of its own, which may die alone.

Answers are lines on the machine's console. This process stays small, since its memory is taken
from the board's.
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

from edgetl.arm_vm.messages import VERDICT, BoardJob, BoardResult, Question, say
from edgetl.core.schema import from_json, to_json

JOB_FILE = Path("/job/job.json")
MADE_PICTURE = Path("/tmp/made.jpg")
# What a worker knows before it asks its engine, for the case that it dies of that.
LEFT_BEHIND = Path("/tmp/verdict.json")
# tflite-runtime needs an older numpy than the others, so it has a folder of its own.
_SITES = {"tflite-runtime": "/opt/tflite:/opt/site:/job"}
_SITE = "/opt/site:/job"
# Seconds of a process in the machine: a thousand million instructions each.
_LIMIT_S = 300
_PICTURE_LIMIT_S = 20
_LOOK_EVERY_S = 10


def main() -> None:
    """Answer `/job/job.json`."""
    job = from_json(JOB_FILE.read_bytes(), BoardJob, where="the job")
    command = [sys.executable, "-m", "edgetl.arm_vm.guest.made_picture", str(MADE_PICTURE)]
    subprocess.run(command, check=True)
    for question in job.questions:
        LEFT_BEHIND.unlink(missing_ok=True)
        failure = _ask(question)
        if failure:
            say(
                VERDICT, msgspec.structs.replace(_known(question), status="crashed", detail=failure)
            )


def _known(question: Question) -> BoardResult:
    """What the worker left behind, else a blank verdict."""
    if LEFT_BEHIND.exists():
        return from_json(LEFT_BEHIND.read_bytes(), BoardResult, where="the worker's verdict")
    return BoardResult(artifact=question.artifact, engine=question.engine, status="absent")


def _ask(question: Question) -> str:
    """Let a worker answer; return why it did not, or nothing."""
    kills_before = _out_of_memory_kills()
    command = [sys.executable, "-X", "faulthandler", "-m", "edgetl.arm_vm.guest.worker"]
    environment = {**os.environ, "PYTHONPATH": _SITES.get(question.engine, _SITE)}
    limit_s = _LIMIT_S + _PICTURE_LIMIT_S * len(question.pictures)
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors, env=environment) as worker,
    ):
        _hand_over(question, worker)
        while not _ended(worker):
            if _instructions_s(worker.pid) > limit_s:
                worker.kill()
                return f"no end after {limit_s} thousand million instructions"
        code = worker.wait()
        if code and _out_of_memory_kills() > kills_before:
            return "killed: the board's memory is used up"
        return reason(code, _tail(errors)) if code else ""


def _hand_over(question: Question, worker: "subprocess.Popen[bytes]") -> None:
    assert worker.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died at once; its exit code tells
        worker.stdin.write(to_json(question).encode())
        worker.stdin.close()


def _ended(worker: "subprocess.Popen[bytes]") -> bool:
    """Wait for a process a while, without waking up in between."""
    # No limit by the machine's clock, which leaps ahead while all processes wait for a disk; nor
    # RLIMIT_CPU, under which Linux counts a process's time in ticks of four milliseconds.
    handle = os.pidfd_open(worker.pid)
    try:
        return bool(select.select([handle], [], [], _LOOK_EVERY_S)[0])
    finally:
        os.close(handle)


def _instructions_s(process: int) -> float:
    """What a process has used of the processor, in seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def reason(code: int, stderr: str) -> str:
    """Why a process failed: what Python said of a signal, or the last line of a traceback."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    fatal = next((line for line in lines if line.startswith("Fatal Python error")), "")
    said = fatal or (lines or ["it said nothing"])[-1]
    ended = f"ended by {signal.Signals(-code).name}" if code < 0 else "failed"
    return f"{ended}: {said[:200]}"


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0, os.SEEK_END)
    errors.seek(max(0, errors.tell() - 8192))
    return errors.read().decode(errors="replace")


def _out_of_memory_kills() -> int:
    """How many processes Linux has killed for want of memory."""
    for line in Path("/proc/vmstat").read_text().splitlines():
        name, _, count = line.partition(" ")
        if name == "oom_kill":
            return int(count)
    return 0


if __name__ == "__main__":
    main()
