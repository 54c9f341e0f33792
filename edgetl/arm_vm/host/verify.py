"""`edgetl verify --on emulated:BOARD`: run a bundle's golden samples and pictures on ARM."""

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
    EngineTask,
    PicturesCompared,
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

# Folders of edgetl that the machine does not need: torch's half, and the command line.
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
    """Run a bundle's artifacts on an emulated board, with the device half of this edgetl.

    Args:
        bundle: the bundle.
        board: from `find_board`.
        pictures: picture files to classify on the board and on the workstation.
        artifacts, engines: only these; None: all.
        progress: where progress is shown.

    Raises EdgetlError if the machine cannot be built, hangs or fails, or a picture cannot be read.
    """
    progress = progress or Silent()
    machine = build_machine(progress)
    tasks = _tasks(bundle, pictures, artifacts, engines)
    with tempfile.TemporaryDirectory() as temporary:
        job = Path(temporary)
        write_device_half(job)
        shutil.copyfile(bundle.path, job / "model.edgetl")
        _copy_pictures(pictures, tasks, job / "pictures")
        write_text(job / "job.json", to_json(BoardJob(tasks=tasks)))
        write_text(job / START, "from edgetl.arm_vm.guest.main import main\n\nmain()\n")
        with progress.stage(f"emulating {board.name}", len(tasks), "artifacts") as shown:
            verdicts = []
            for verdict in results_of(boot(machine, board, job)):
                verdicts.append(verdict)
                shown.advance(1, f"{verdict.artifact} through {verdict.engine}: {verdict.status}")
    if len(verdicts) != len(tasks):
        raise MachineError(
            f"The emulated machine returned {len(verdicts)} of {len(tasks)} results.",
            hint="try again.",
        )
    return EmulatedReport(
        bundle=str(bundle.path),
        board=board.name,
        processor=board.processor,
        memory_mb=board.memory_mb,
        machine=machine.name,
        rows=tuple(BoardRow(verdict=v, pictures=_compare(bundle, v, pictures)) for v in verdicts),
    )


def require_parity(report: EmulatedReport) -> None:
    """Require that the engines that the board's profile advises give the right outputs.

    Raises GateMissedError if one of them is wrong or crashed, and EngineError if none could be run.
    """
    advised = load_device(report.board).engines
    required = [
        row.verdict
        for row in report.rows
        if row.verdict.engine in advised and not row.verdict.refused
    ]
    failed = [verdict for verdict in required if verdict.status in ("wrong", "crashed")]
    if failed:
        named = ", ".join(f"{v.artifact} through {v.engine} ({v.status})" for v in failed)
        raise GateMissedError(
            f"Parity failed on {report.board}: {named}.",
            hint="use another engine or artifact on that board.",
        )
    if not any(verdict.status == "right" for verdict in required):
        raise EngineError(
            f"No artifact of this bundle could be run with an engine of {report.board}.",
            hint=f"export for that board: --target {report.board}.",
        )


def verdicts_for_the_bundle(report: EmulatedReport) -> list[BoardVerdict]:
    """The verdicts to store in the bundle; engines that the machine does not have are left out."""
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
    """Copy this edgetl's device half into `folder`. Raises EdgetlError if that cannot be made."""
    make_folder(folder)
    shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=shutil.ignore_patterns(*_LEFT_OUT))


def results_of(lines: Iterable[str]) -> Iterator[BoardResult]:
    """Yields the results among a machine's lines. Raises MachineError if one is malformed."""
    for line in lines:
        if line.startswith(VERDICT):
            try:
                yield from_json(line.removeprefix(VERDICT), BoardResult, where="a verdict")
            except SchemaError as error:
                raise MachineError(
                    f"The emulated machine's result cannot be read: {error}", hint="try again."
                ) from error


def _tasks(
    bundle: Bundle,
    pictures: Sequence[Path],
    artifacts: Sequence[str] | None,
    engines: Sequence[str] | None,
) -> tuple[EngineTask, ...]:
    # Numbers, because a picture's own name may be anything; Pillow does not need the suffix.
    names = tuple(f"{i:06}" for i in range(len(pictures)))
    return tuple(
        EngineTask(engine=engine, artifact=artifact.name, pictures=names)
        for artifact in bundle.manifest.artifacts
        for engine, info in ENGINES.items()
        if info.format == artifact.format
        and (artifacts is None or artifact.name in artifacts)
        and (engines is None or engine in engines)
    )


def _copy_pictures(pictures: Sequence[Path], tasks: Sequence[EngineTask], folder: Path) -> None:
    make_folder(folder)
    names = tasks[0].pictures if tasks else ()
    for name, picture in zip(names, pictures, strict=True):
        try:
            shutil.copyfile(picture, folder / name)
        except OSError as error:
            raise DataError(
                f"'{picture}' cannot be read: {error.strerror}.",
                hint="check that it exists and that you may read it.",
            ) from error


def _compare(
    bundle: Bundle, verdict: BoardResult, pictures: Sequence[Path]
) -> PicturesCompared | None:
    """Compare the pictures' labels on the board with those of an engine on this machine.

    Returns None if there are no pictures, the board gave no labels, or no engine that runs the
    artifact is installed here.
    """
    engines = [
        e for e, i in ENGINES.items() if i.format == bundle.artifact(verdict.artifact).format
    ]
    available = [e for e in engines if installed(e)]
    if not pictures or len(verdict.labels) != len(pictures) or not available:
        return None
    engine = verdict.engine if verdict.engine in available else available[0]
    classifier = Classifier(bundle, engine=engine, artifact=verdict.artifact)
    labels = [_label_here(classifier, picture) for picture in pictures]
    pairs = [pair for pair in zip(verdict.labels, labels, strict=True) if pair != (None, None)]
    return PicturesCompared(
        engine=classifier.engine_version,
        images=len(pairs),
        same_label=sum(on_board == here for on_board, here in pairs),
    )


def _label_here(classifier: Classifier, picture: Path) -> int | None:
    try:
        return int(classifier.logits(load_pixels(picture, classifier.preprocess)).argmax())
    except DataError:
        return None
