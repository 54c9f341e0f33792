"""One answer in a fresh interpreter: how long from process start, and how much memory.

Run as `python -m edgetl.benchmarking.cold`, with a `ColdRequest` as JSON on standard input.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from edgetl.benchmarking.host import peak_memory_bytes
from edgetl.core.errors import EdgetlError, EngineError
from edgetl.core.schema import Frozen

_TIMEOUT_S = 300


class ColdRequest(Frozen, kw_only=True, frozen=True):
    """What to answer, and when the asking process started this one (seconds since the epoch)."""

    bundle: str
    engine: str
    artifact: str | None
    threads: int | None
    picture: str | None
    started: float


class ColdAnswer(Frozen, kw_only=True, frozen=True):
    """Process start to first answer, and the process's peak resident memory."""

    cold_start_ms: float
    peak_memory_bytes: int


class ColdFailure(Frozen, kw_only=True, frozen=True):
    """What was wrong there."""

    message: str
    hint: str


def measure_cold(
    bundle: Path, engine: str, artifact: str | None, threads: int | None, picture: Path | None
) -> ColdAnswer:
    """Start an interpreter that answers once.

    Raises EngineError if it fails. An engine that takes its whole process down takes that one.
    """
    request = ColdRequest(
        bundle=str(bundle),
        engine=engine,
        artifact=artifact,
        threads=threads,
        picture=str(picture) if picture else None,
        started=time.time(),
    )
    try:
        result = subprocess.run(
            [sys.executable, "-m", "edgetl.benchmarking.cold"],
            input=msgspec.json.encode(request),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"Engine '{engine}' gave no answer within {_TIMEOUT_S} s.") from error
    if result.returncode != 0:
        raise _failed(engine, artifact, result)
    return msgspec.json.decode(result.stdout, type=ColdAnswer)


def _failed(
    engine: str, artifact: str | None, result: "subprocess.CompletedProcess[bytes]"
) -> EngineError:
    """The error for an interpreter that gave no answer."""
    on = f" on '{artifact}'" if artifact else ""
    if result.returncode < 0:
        name = signal.Signals(-result.returncode).name
        return EngineError(
            f"Engine '{engine}' crashed{on} ({name}).",
            hint="update the engine, or try another with --engine.",
        )
    if result.stdout:
        failure = msgspec.json.decode(result.stdout, type=ColdFailure)
        return EngineError(f"Engine '{engine}' failed{on}: {failure.message}", hint=failure.hint)
    last = (result.stderr.decode(errors="replace").strip().splitlines() or ["no output"])[-1]
    return EngineError(f"Engine '{engine}' failed{on}: {last}")


def _answer(request: ColdRequest) -> ColdAnswer:
    import numpy as np

    from edgetl.runtime.classifier import Classifier

    classifier = Classifier(
        request.bundle, engine=request.engine, artifact=request.artifact, threads=request.threads
    )
    if request.picture:
        classifier(request.picture)
    else:
        size_px = classifier.preprocess.size_px
        classifier.logits(np.zeros((size_px, size_px, 3), np.uint8))
    return ColdAnswer(
        cold_start_ms=(time.time() - request.started) * 1e3,
        peak_memory_bytes=peak_memory_bytes(),
    )


if __name__ == "__main__":
    try:
        answer = _answer(msgspec.json.decode(sys.stdin.buffer.read(), type=ColdRequest))
    except EdgetlError as error:
        failure = ColdFailure(message=str(error), hint=error.hint)
        sys.stdout.buffer.write(msgspec.json.encode(failure))
        sys.exit(1)
    sys.stdout.buffer.write(msgspec.json.encode(answer))
