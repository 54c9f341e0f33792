"""The messages between the host and the emulated machine."""

import sys
from typing import Any, Literal

import msgspec

from edgetl.bundle.manifest import Name
from edgetl.core.schema import Frozen

# A console line that begins with one of these is a message.
VERDICT = "@verdict "
WORKING = "@working"

Status = Literal["right", "wrong", "crashed", "absent"]


class EngineTask(Frozen, kw_only=True, frozen=True):
    """One artifact to run with one engine, in a process of its own.

    Attributes:
        engine: the engine's name.
        artifact: the artifact's name.
        pictures: names of files in the job's folder "pictures"; the result's labels are in this
            order.
    """

    engine: Name
    artifact: str
    pictures: tuple[str, ...]


class BoardJob(Frozen, kw_only=True, frozen=True):
    """Everything that the machine is to run, one task after the other."""

    tasks: tuple[EngineTask, ...] = msgspec.field(name="questions")


class Instructions(Frozen, kw_only=True, frozen=True):
    """ARM instructions per picture by stage, the median of several pictures.

    They measure work, not time: caches, memory bandwidth and the number of instructions that a
    core executes at once are not taken into account.
    """

    decode: int
    resize: int
    inference: int


class BoardResult(Frozen, kw_only=True, frozen=True):
    """The result of one artifact with one engine on the board.

    Attributes:
        version: the engine's version on the board; "" if it failed before that was known.
        status: "right"; "wrong" (an output differs); "crashed" (the engine failed, or was killed);
            "absent" (the machine has no such engine).
        refused: whether edgetl refuses to run this artifact with this engine on ARM; it is run
            here all the same, to show why.
        samples, same_label: the number of golden samples, and how many kept their label.
        max_difference: largest difference of a probability, 0 to 1.
        max_logit_difference: largest difference of a logit; 0 means equal bit for bit.
        peak_memory_bytes: the peak resident memory of the process, including the bundle.
        instructions: by stage, measured on `stage_pictures`.
        stage_pictures: "given": the job's pictures; "made": a generated picture of 1280 x 960 px
            that is the same everywhere.
        labels: class index for each given picture; None if it cannot be read.
        detail: the reason if the status is not "right".
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
    """The labels of the given pictures on the board, compared with those on the workstation.

    Both run the same artifact.

    Attributes:
        engine: the workstation's engine and its version, e.g. "litert 2.3.0".
        images: how many pictures could be read on the board or on the workstation.
        same_label: how many of these have the same label on both.
    """

    engine: str
    images: int
    same_label: int


class BoardRow(Frozen, kw_only=True, frozen=True):
    """The result of one artifact with one engine, and the comparison of its pictures' labels.

    Attributes:
        verdict: the result.
        pictures: the comparison; None if there are no pictures or they could not be compared.
    """

    verdict: BoardResult
    pictures: PicturesCompared | None = None


class EmulatedReport(Frozen, kw_only=True, frozen=True):
    """The report of `edgetl verify --on emulated:BOARD`.

    Attributes:
        bundle: the path of the bundle.
        board: the board's name.
        processor: the processor that QEMU emulated, e.g. "cortex-a72".
        memory_mb: the machine's memory, in units of 2**20 bytes.
        machine: the name of the machine's folder, which changes with its software.
        rows: one for each task.
    """

    bundle: str
    board: str
    processor: str
    memory_mb: int
    machine: str
    rows: tuple[BoardRow, ...]


def say(mark: str, record: Any = None) -> None:
    """Print a record as JSON on one line of standard output, after its mark."""
    text = "" if record is None else msgspec.json.encode(record).decode()
    sys.stdout.write(f"\n{mark}{text}\n")
    sys.stdout.flush()
