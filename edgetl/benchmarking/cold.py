"""Measure one prediction in a fresh interpreter: time from process start, and peak memory.

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
    """What the fresh interpreter is to run.

    Attributes:
        engine, artifact, threads: as `Classifier` takes them.
        picture: path of the picture to classify; None: black pixels.
        started: when the parent process started the interpreter, in seconds since the epoch.
    """

    bundle: str
    engine: str
    artifact: str | None
    threads: int | None
    picture: str | None
    started: float


class ColdResult(Frozen, kw_only=True, frozen=True):
    """Time from process start to first prediction, and the process's peak resident memory."""

    cold_start_ms: float
    peak_memory_bytes: int


class ColdFailure(Frozen, kw_only=True, frozen=True):
    """The error that ended the fresh interpreter."""

    message: str
    hint: str


def measure_cold(
    bundle: Path, engine: str, artifact: str | None, threads: int | None, picture: Path | None
) -> ColdResult:
    """Start a fresh interpreter that predicts once, and measure it.

    Args:
        bundle: path of the bundle.
        engine, artifact, threads: as `Classifier` takes them.
        picture: the picture to classify; None: black pixels.

    Raises EngineError if the interpreter fails, crashes or takes more than 300 s. An engine that
    crashes ends only that interpreter.
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
        raise EngineError(
            f"Engine '{engine}' did not finish within {_TIMEOUT_S} s.",
            hint="update the engine, or try another with --engine.",
        ) from error
    if result.returncode != 0:
        raise _failed(engine, artifact, result)
    return msgspec.json.decode(result.stdout, type=ColdResult)


def _failed(
    engine: str, artifact: str | None, result: "subprocess.CompletedProcess[bytes]"
) -> EngineError:
    """The error for an interpreter that ended without a prediction."""
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


def _predict_once(request: ColdRequest) -> ColdResult:
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
    return ColdResult(
        cold_start_ms=(time.time() - request.started) * 1e3,
        peak_memory_bytes=peak_memory_bytes(),
    )


if __name__ == "__main__":
    try:
        cold_result = _predict_once(msgspec.json.decode(sys.stdin.buffer.read(), type=ColdRequest))
    except EdgetlError as error:
        failure = ColdFailure(message=str(error), hint=error.hint)
        sys.stdout.buffer.write(msgspec.json.encode(failure))
        sys.exit(1)
    sys.stdout.buffer.write(msgspec.json.encode(cold_result))
