"""`edgetl verify --on emulated:BOARD`: a bundle's golden samples and pictures, asked on ARM."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from edgetl.arm_vm.host.boards import Board
from edgetl.arm_vm.host.build import build_machine
from edgetl.arm_vm.host.machine import START, MachineError, boot
from edgetl.arm_vm.messages import (
    VERDICT,
    BoardJob,
    BoardResult,
    BoardRow,
    EmulatedReport,
    PicturesCompared,
    Question,
)
from edgetl.bundle.archive import Bundle
from edgetl.bundle.manifest import BoardVerdict
from edgetl.core.errors import DataError, EngineError, GateMissedError, SchemaError
from edgetl.core.files import make_folder, write_text
from edgetl.core.progress import Progress, Silent
from edgetl.core.schema import from_json, to_json
from edgetl.devices.profiles import load_device
from edgetl.runtime.classifier import Classifier
from edgetl.runtime.engines.registry import ENGINES, installed
from edgetl.runtime.preprocess import load_pixels

# The rooms a device has: what runs here is what is asked there.
# What the machine has no use for: torch's half, and the command line.
_LEFT_OUT = ("workstation", "cli", "__pycache__")
PACKAGE = Path(__file__).resolve().parents[2]


def verify_on(
    bundle: Bundle,
    board: Board,
    pictures: Sequence[Path] = (),
    *,
    artifacts: Sequence[str] | None = None,
    engines: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> EmulatedReport:
    """Ask a bundle's artifacts on an emulated board, through this edgetl's own device half.

    Args:
        bundle: the bundle.
        board: from `find_board`.
        pictures: picture files, to be labelled there and here.
        artifacts, engines: only these; None for all.

    Raises EdgetlError if the machine cannot be built or does not come to an end.
    """
    progress = progress or Silent()
    machine = build_machine(progress)
    questions = _questions(bundle, pictures, artifacts, engines)
    with tempfile.TemporaryDirectory() as temporary:
        job = Path(temporary)
        write_device_half(job)
        shutil.copyfile(bundle.path, job / "model.edgetl")
        _copy_pictures(pictures, questions, job / "pictures")
        write_text(job / "job.json", to_json(BoardJob(questions=questions)))
        write_text(job / START, "from edgetl.arm_vm.guest.main import main\n\nmain()\n")
        with progress.stage(f"emulating {board.name}", len(questions), "artifacts") as shown:
            verdicts = []
            for verdict in results_of(boot(machine, board, job)):
                verdicts.append(verdict)
                shown.advance(1, f"{verdict.artifact} through {verdict.engine}: {verdict.status}")
    if len(verdicts) != len(questions):
        raise MachineError(f"The machine answered {len(verdicts)} of {len(questions)} questions.")
    return EmulatedReport(
        bundle=str(bundle.path),
        board=board.name,
        processor=board.processor,
        memory_mb=board.memory_mb,
        machine=machine.name,
        rows=tuple(BoardRow(verdict=v, pictures=_compare(bundle, v, pictures)) for v in verdicts),
    )


def require_parity(report: EmulatedReport) -> None:
    """Raises GateMissedError where an engine that the board's profile advises does not answer
    right, and EngineError where there was none to ask.
    """
    advised = load_device(report.board).engines
    asked = [
        row.verdict
        for row in report.rows
        if row.verdict.engine in advised and not row.verdict.refused
    ]
    failed = [verdict for verdict in asked if verdict.status in ("wrong", "crashed")]
    if failed:
        named = ", ".join(f"{v.artifact} through {v.engine} ({v.status})" for v in failed)
        raise GateMissedError(
            f"Not what the workstation measured, on {report.board}: {named}.",
            hint="use another engine or artifact on that board.",
        )
    if not any(verdict.status == "right" for verdict in asked):
        raise EngineError(f"No engine could be asked on {report.board}.")


def verdicts_for_the_bundle(report: EmulatedReport) -> list[BoardVerdict]:
    """What a bundle keeps of a report: engines that the machine does not have are left out."""
    return [
        BoardVerdict(
            board=report.board,
            emulated=True,
            artifact=v.artifact,
            engine=v.engine,
            version=v.version,
            status=v.status,
            peak_memory_bytes=v.peak_memory_bytes,
        )
        for v in (row.verdict for row in report.rows)
        if v.status != "absent"
    ]


def write_device_half(folder: Path) -> None:
    """Copy the device half of this very edgetl. Raises EdgetlError."""
    make_folder(folder)
    shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=shutil.ignore_patterns(*_LEFT_OUT))


def results_of(lines: Iterable[str]) -> Iterator[BoardResult]:
    """The verdicts among a machine's lines. Raises MachineError for one that cannot be read."""
    for line in lines:
        if line.startswith(VERDICT):
            try:
                yield from_json(line.removeprefix(VERDICT), BoardResult, where="a verdict")
            except SchemaError as error:
                raise MachineError(f"The emulated machine's answer is garbled: {error}") from error


def _questions(
    bundle: Bundle,
    pictures: Sequence[Path],
    artifacts: Sequence[str] | None,
    engines: Sequence[str] | None,
) -> tuple[Question, ...]:
    # Names of our own: a picture's may be anything. The suffix helps nobody, Pillow looks inside.
    names = tuple(f"{i:06}" for i in range(len(pictures)))
    return tuple(
        Question(engine=engine, artifact=artifact.name, pictures=names)
        for artifact in bundle.manifest.artifacts
        for engine, info in ENGINES.items()
        if info.format == artifact.format
        and (artifacts is None or artifact.name in artifacts)
        and (engines is None or engine in engines)
    )


def _copy_pictures(pictures: Sequence[Path], questions: Sequence[Question], folder: Path) -> None:
    make_folder(folder)
    names = questions[0].pictures if questions else ()
    for name, picture in zip(names, pictures, strict=True):
        try:
            shutil.copyfile(picture, folder / name)
        except OSError as error:
            raise DataError(f"'{picture}' cannot be read: {error.strerror}.") from error


def _compare(
    bundle: Bundle, verdict: BoardResult, pictures: Sequence[Path]
) -> PicturesCompared | None:
    """None where nothing was answered there, or no engine is here to answer the same."""
    engines = [
        e for e, i in ENGINES.items() if i.format == bundle.artifact(verdict.artifact).format
    ]
    here = [e for e in engines if installed(e)]
    if not pictures or len(verdict.labels) != len(pictures) or not here:
        return None
    engine = verdict.engine if verdict.engine in here else here[0]
    classifier = Classifier(bundle, engine=engine, artifact=verdict.artifact)
    labels = [_label_here(classifier, picture) for picture in pictures]
    pairs = [pair for pair in zip(verdict.labels, labels, strict=True) if pair != (None, None)]
    return PicturesCompared(
        engine=classifier.engine_version,
        images=len(pairs),
        same_label=sum(there == here for there, here in pairs),
    )


def _label_here(classifier: Classifier, picture: Path) -> int | None:
    try:
        return int(classifier.logits(load_pixels(picture, classifier.preprocess)).argmax())
    except DataError:
        return None
