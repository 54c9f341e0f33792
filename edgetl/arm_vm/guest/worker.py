"""Runs in the emulated machine: one artifact through one engine.

As `python -m edgetl.arm_vm.guest.worker`, with a `Question` as JSON on standard input.
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

from edgetl.arm_vm.guest.main import LEFT_BEHIND, MADE_PICTURE
from edgetl.arm_vm.messages import VERDICT, WORKING, BoardResult, Instructions, Question, say
from edgetl.benchmarking.host import peak_memory_bytes
from edgetl.bundle.archive import Bundle
from edgetl.bundle.reports import ParityReport
from edgetl.core.errors import DataError, EngineError
from edgetl.core.schema import from_json
from edgetl.evaluation.parity import TOLERANCE, verify
from edgetl.runtime.engines.registry import installed, load_engine
from edgetl.runtime.engines.spec import Engine
from edgetl.runtime.preprocess import decode, prepare
from edgetl.runtime.selection import Choice, limits_here
from edgetl.runtime.softmax import softmax

BUNDLE = Path("/job/model.edgetl")
PICTURES = Path("/job/pictures")
# One is what an engine splits its work by least, and it has no threads that spin while they wait.
_THREADS = 1
_COUNTED_CALLS = 3


def answer(question: Question) -> BoardResult:
    """Ask golden samples, pictures and instruction counts of an artifact."""
    bundle = Bundle(BUNDLE)
    choice = Choice(question.engine, bundle.artifact(question.artifact))
    refused = bool(limits_here(choice))
    blank = BoardResult(
        artifact=question.artifact, engine=question.engine, status="absent", refused=refused
    )
    if not installed(question.engine):
        return blank
    LEFT_BEHIND.write_bytes(msgspec.json.encode(blank))
    try:
        measured = _measure(blank, bundle, choice, question.pictures)
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
    """`verify` of one artifact through one engine."""
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
    wanted = golden[choice.artifact.name].astype(np.float32)
    answers = np.stack([engine(sample[np.newaxis])[0] for sample in golden["inputs"]])
    same = int((answers.argmax(1) == wanted.argmax(1)).sum())
    differs = float(np.abs(softmax(answers) - softmax(wanted)).max())
    return msgspec.structs.replace(
        blank,
        status="right" if differs <= TOLERANCE[choice.artifact.scheme] else "wrong",
        version=engine.version,
        samples=len(wanted),
        same_label=same,
        max_difference=differs,
        max_logit_difference=float(np.abs(answers - wanted).max()),
        peak_memory_bytes=peak,
        instructions=stages.median(),
        stage_pictures="given" if any(label is not None for label in labels) else "made",
        labels=tuple(labels),
    )


class Stages:
    """A picture's way through decode, resize and engine, each stage's instructions counted.

    The machine's clock goes by instructions, one each nanosecond, so the time of the process is
    its instructions.

    Attributes:
        counted: for each picture, instructions of decode, resize and inference.
        readable: the first picture that could be read.
    """

    def __init__(self, engine: Engine, bundle: Bundle) -> None:
        self._engine, self._spec = engine, bundle.manifest.preprocess
        self.counted: list[tuple[int, int, int]] = []
        self.readable: Path | None = None

    def __call__(self, picture: Path) -> int:
        """The class index. Raises DataError."""
        if self.readable is None:  # the first of all loads codecs and makes buffers: not counted
            self._engine(prepare(decode(picture, self._spec.resize_px), self._spec)[np.newaxis])
            self.readable = picture
        decoded, decoding = _counted(lambda: decode(picture, self._spec.resize_px))
        pixels, resizing = _counted(lambda: prepare(decoded, self._spec))
        logits, inferring = _counted(lambda: self._engine(pixels[np.newaxis]))
        self.counted.append((decoding, resizing, inferring))
        best: NDArray[np.int64] = logits.argmax(axis=1)
        return int(best[0])

    def median(self) -> Instructions:
        """Of all that were counted."""
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
    """What a call gives, and its instructions: the nanoseconds of the process there."""
    start = time.process_time_ns()
    result = call()
    return result, time.process_time_ns() - start


def _give_way() -> None:
    """Be the one Linux kills where memory runs out, not the process that reports it."""
    Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    asked = from_json(sys.stdin.buffer.read(), Question, where="the question")
    _give_way()
    say(VERDICT, answer(asked))
