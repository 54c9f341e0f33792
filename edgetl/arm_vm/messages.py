"""What the host and the emulated machine send each other over its console."""

import sys
from typing import Any, Literal

import msgspec

from edgetl.bundle.manifest import Name
from edgetl.core.schema import Frozen

# What a line of the console begins with that is a message.
VERDICT = "@verdict "
WORKING = "@working"

Status = Literal["right", "wrong", "crashed", "absent"]


class Question(Frozen, kw_only=True, frozen=True):
    """One artifact through one engine, asked of a process of its own.

    Attributes:
        pictures: names of files in the job's folder "pictures", in the order of the answers.
    """

    engine: Name
    artifact: str
    pictures: tuple[str, ...]


class BoardJob(Frozen, kw_only=True, frozen=True):
    """Everything the machine is asked."""

    questions: tuple[Question, ...]


class Instructions(Frozen, kw_only=True, frozen=True):
    """ARM instructions of one picture, the median of several: how much work, not how long it takes.

    They know nothing of caches, bandwidth, or how many instructions a core does at once.
    """

    decode: int
    resize: int
    inference: int


class BoardResult(Frozen, kw_only=True, frozen=True):
    """What an artifact did on the board.

    Attributes:
        version: the engine's there; "" where it did not come so far.
        status: "right"; "wrong" (an answer differs); "crashed" (the engine failed, or was killed);
            "absent" (the machine has no such engine).
        refused: edgetl does not run this artifact through this engine on ARM; it was asked here
            all the same, to show why.
        samples, same_label: golden samples, and how many kept their label.
        max_difference: largest difference of a probability, 0 to 1.
        max_logit_difference: largest difference of a logit; 0 means equal bit for bit.
        peak_memory_bytes: the most resident memory of the process, with the bundle in it.
        instructions: by stage, of `stage_pictures`.
        stage_pictures: "given", or "made": a picture of 1280 x 960 that is the same everywhere.
        labels: class index for each given picture; None where it cannot be read.
        detail: why, where it is not "right".
    """

    artifact: str
    engine: Name
    status: Status
    version: str = ""
    refused: bool = False
    samples: int = 0
    same_label: int = 0
    max_difference: float | None = None
    max_logit_difference: float | None = None
    peak_memory_bytes: int | None = None
    instructions: Instructions | None = None
    stage_pictures: Literal["given", "made"] = "made"
    labels: tuple[int | None, ...] = ()
    detail: str = ""


class PicturesCompared(Frozen, kw_only=True, frozen=True):
    """The given pictures' labels there beside those here, through the same artifact.

    Attributes:
        engine: through which the workstation answered, e.g. "litert 2.3.0".
        images: how many could be read there or here.
        same_label: how many of these have the same label.
    """

    engine: str
    images: int
    same_label: int


class BoardRow(Frozen, kw_only=True, frozen=True):
    """A verdict, and how the pictures came out beside the workstation; None without pictures."""

    verdict: BoardResult
    pictures: PicturesCompared | None = None


class EmulatedReport(Frozen, kw_only=True, frozen=True):
    """What `edgetl verify --on emulated:BOARD` found.

    Attributes:
        processor: the one QEMU played, e.g. "cortex-a72".
        memory_mb: the machine's, in 2**20 bytes.
        machine: the key of the software that was in it.
    """

    bundle: str
    board: str
    processor: str
    memory_mb: int
    machine: str
    rows: tuple[BoardRow, ...]


def say(mark: str, record: Any = None) -> None:
    """Print a record on one line, behind its mark."""
    text = "" if record is None else msgspec.json.encode(record).decode()
    sys.stdout.write(f"\n{mark}{text}\n")
    sys.stdout.flush()
