"""Run one artifact with one engine, in the emulated machine.

Started as `python -m edgetl.arm_vm.guest.worker`, with an `EngineTask` as JSON on standard input.
"""

import copy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgetl.arm_vm.guest.main import MADE_PICTURE, PARTIAL_RESULT
from edgetl.arm_vm.messages import VERDICT, WORKING, BoardResult, EngineTask, Instructions, say
from edgetl.benchmarking.host import peak_memory_bytes
from edgetl.bundle.archive import Bundle
from edgetl.bundle.reports import ParityReport
from edgetl.core.errors import DataError, EngineError
from edgetl.core.schema import from_json
from edgetl.evaluation.parity import TOLERANCE, verify
from edgetl.runtime.engines.registry import Engine, installed, load_engine
from edgetl.runtime.preprocess import decode, prepare
from edgetl.runtime.selection import Choice, limits_here
from edgetl.runtime.softmax import softmax

BUNDLE = Path("/job/model.edgetl")
PICTURES = Path("/job/pictures")
# With one thread an engine splits its work least, and no thread spins while it waits for others.
_THREADS = 1
_COUNTED_CALLS = 3


def run_task(task: EngineTask) -> BoardResult:
    """Run an artifact on the golden samples and the pictures, and count its instructions.

    Engine errors are part of the result: the status is then "crashed".
    """
    bundle = Bundle(BUNDLE)
    choice = Choice(task.engine, bundle.artifact(task.artifact))
    refused = bool(limits_here(choice))
    blank = BoardResult(
        artifact=task.artifact, engine=task.engine, status="absent", refused=refused
    )
    if not installed(task.engine):
        return blank
    PARTIAL_RESULT.write_bytes(msgspec.json.encode(blank))
    try:
        measured = _measure(blank, bundle, choice, task.pictures)
    except EngineError as error:
        return msgspec.structs.replace(blank, status="crashed", detail=str(error))
    if refused:
        return measured
    report = parity_of(bundle, choice)
    return msgspec.structs.replace(
        measured,
        status=report.status,
        samples=report.samples,
        same_label=report.same_label,
        max_difference=report.max_difference,
        detail=report.detail,
    )


def parity_of(bundle: Bundle, choice: Choice) -> ParityReport:
    """Run `verify` for one artifact with one engine."""
    only = copy.copy(bundle)
    only.manifest = msgspec.structs.replace(bundle.manifest, artifacts=(choice.artifact,))
    return next(report for report in verify(only) if report.engine == choice.engine)


def _measure(
    blank: BoardResult, bundle: Bundle, choice: Choice, pictures: tuple[str, ...]
) -> BoardResult:
    engine = load_engine(choice.engine, bundle.files(choice.artifact), threads=_THREADS)
    stages = Stages(engine, bundle)
    labels = [_label(stages, PICTURES / name) for name in pictures]
    if stages.readable is None:
        _label(stages, MADE_PICTURE)
    while len(stages.counted) < _COUNTED_CALLS:
        stages(stages.readable or MADE_PICTURE)
    peak = peak_memory_bytes()
    golden = bundle.golden()
    expected = golden[choice.artifact.name].astype(np.float32)
    logits = np.stack([engine(sample[np.newaxis])[0] for sample in golden["inputs"]])
    same = int((logits.argmax(1) == expected.argmax(1)).sum())
    difference = float(np.abs(softmax(logits) - softmax(expected)).max())
    return msgspec.structs.replace(
        blank,
        status="right" if difference <= TOLERANCE[choice.artifact.scheme] else "wrong",
        version=engine.version,
        samples=len(expected),
        same_label=same,
        max_difference=difference,
        max_logit_difference=float(np.abs(logits - expected).max()),
        peak_memory_bytes=peak,
        instructions=stages.median(),
        stage_pictures="given" if any(label is not None for label in labels) else "made",
        labels=tuple(labels),
    )


class Stages:
    """Decodes, resizes and classifies pictures, and counts the instructions of each stage.

    The machine's clock advances by one nanosecond per instruction, so the CPU time of the process
    is the number of its instructions.

    Attributes:
        counted: for each picture, the instructions of decode, resize and inference.
        readable: the first picture that could be read.
    """

    def __init__(self, engine: Engine, bundle: Bundle) -> None:
        self._engine, self._spec = engine, bundle.manifest.preprocess
        self.counted: list[tuple[int, int, int]] = []
        self.readable: Path | None = None

    def __call__(self, picture: Path) -> int:
        """Returns the predicted class index. Raises DataError if the picture cannot be read."""
        if self.readable is None:  # the first call loads codecs and allocates: not counted
            self._engine(prepare(decode(picture, self._spec.resize_px), self._spec)[np.newaxis])
            self.readable = picture
        decoded, decoding = _counted(lambda: decode(picture, self._spec.resize_px))
        pixels, resizing = _counted(lambda: prepare(decoded, self._spec))
        logits, inferring = _counted(lambda: self._engine(pixels[np.newaxis]))
        self.counted.append((decoding, resizing, inferring))
        best: NDArray[np.int64] = logits.argmax(axis=1)
        return int(best[0])

    def median(self) -> Instructions:
        """The median of each stage over all counted pictures; there is at least one."""
        decoding, resizing, inferring = zip(*self.counted, strict=True)
        return Instructions(
            decode=int(median(decoding)),
            resize=int(median(resizing)),
            inference=int(median(inferring)),
        )


def _label(stages: Stages, picture: Path) -> int | None:
    try:
        return stages(picture)
    except DataError:
        return None
    finally:
        say(WORKING)


def _counted(call: Callable[[], Any]) -> tuple[Any, int]:
    """Returns the result of a call and its instructions, one per nanosecond of CPU time."""
    start = time.process_time_ns()
    result = call()
    return result, time.process_time_ns() - start


def _give_way() -> None:
    """Make Linux kill this process if memory runs out, not the one that reports it."""
    Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    task = from_json(sys.stdin.buffer.read(), EngineTask, where="the task")
    _give_way()
    say(VERDICT, run_task(task))
