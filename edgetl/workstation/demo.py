"""The demo: from public pictures of solar cells to a measured bundle, by public functions."""

import zipfile
from pathlib import Path

from edgetl.benchmarking.reports import BenchReport, BenchRow
from edgetl.benchmarking.run import bench
from edgetl.bundle.manifest import Artifact, Fraction
from edgetl.bundle.reports import ParityReport, Prediction
from edgetl.core.errors import DataError
from edgetl.core.files import make_folder, write_text
from edgetl.core.progress import Progress
from edgetl.core.schema import Frozen, to_json
from edgetl.data.split import SPLITS_FILE, read_split, resolve
from edgetl.evaluation.parity import require_parity, verify
from edgetl.fetch.registry import fetch_wheel
from edgetl.runtime.classifier import Classifier
from edgetl.workstation.export.export import export
from edgetl.workstation.export.formats.registry import FORMATS
from edgetl.workstation.recipe import load_recipe
from edgetl.workstation.report.report import report
from edgetl.workstation.run_folder import run_state
from edgetl.workstation.training.finetune import finetune

REQUIREMENT = "elpv-dataset==1.0.0.post1"
SHA256 = "85e31c1126ee9b48e62d3a0232c58f58b2d189b0814a45c13642fa0415af4a4c"
LICENCE = "CC BY-NC-SA 4.0"
CITATION = "Buerhop-Lutz et al. 2018, Deitsch et al. 2019"
RECIPE = "solar-cells"
REPORT_FILE = "report.html"
_INSIDE = "elpv_dataset/data/"
_MAX_PICTURE_BYTES = 1 << 20


class DemoRow(Frozen, kw_only=True, frozen=True):
    """One artifact's row in the final table."""

    artifact: str
    megabytes: float
    top1: Fraction
    drop_pp: float
    agreement: Fraction
    p50_ms: float
    p90_ms: float


class DemoReport(Frozen, kw_only=True, frozen=True):
    """What the demo measured: `demo/table.json`."""

    torch_top1: Fraction
    images: int
    rows: tuple[DemoRow, ...]
    answers: tuple[Prediction, ...]
    parity: tuple[ParityReport, ...]
    bench: BenchReport


def run_demo(out: Path, progress: Progress) -> DemoReport:
    """Download the data, fine-tune, export, verify, benchmark and classify.

    Pictures and a run that an earlier call finished are reused.
    Writes `pictures/`, `run/`, `model.edgetl`, `table.json` and `report.html` into `out`. Raises
    EdgetlError.
    """
    make_folder(out)
    data = out / "pictures"
    take_pictures(data, progress)
    run, model = out / "run", out / "model.edgetl"
    state = run_state(run)
    if state != "finished":
        recipe = load_recipe(RECIPE)
        finetune(data, run, recipe, resume=state == "interrupted", progress=progress)
    bundle = export(run, model, progress=progress)
    parity = verify(bundle, progress)
    require_parity(parity)
    right = sum(r.status == "right" for r in parity)
    progress.say(f"verified: hashes match, golden samples right for {right} artifacts")
    split = read_split(run / SPLITS_FILE)
    tests = [example.path for example in resolve(split, split.test)]
    few = tests[:: max(1, len(tests) // 6)][:6]
    timed = bench(bundle, few, progress=progress)
    classifier = Classifier(bundle)
    measured = [a for a in bundle.manifest.artifacts if a.measured]
    made = DemoReport(
        torch_top1=bundle.manifest.provenance.torch_top1 or 0.0,
        images=len(tests),
        rows=tuple(_row(artifact, timed) for artifact in measured),
        answers=tuple(classifier(path, source=_short(path)) for path in few),
        parity=tuple(parity),
        bench=timed,
    )
    write_text(out / "table.json", to_json(made))
    report([run, model], out / REPORT_FILE, benchmark=timed, progress=progress)
    return made


def take_pictures(data: Path, progress: Progress) -> None:
    """Download elpv-dataset and lay it out as class folders, unless that is done.

    A cell is "defective" if experts put the probability of a defect at 0.5 or more.
    """
    if data.is_dir():
        return
    progress.say(f"fetching {REQUIREMENT}: solar cells, licence {LICENCE} ({CITATION})")
    with progress.stage("fetching", 1, "wheel") as shown:
        wheel = fetch_wheel(REQUIREMENT, SHA256)
        shown.advance()
    partial = data.with_name(f".{data.name}.partial")
    with zipfile.ZipFile(wheel) as archive:
        cells = _labels(archive.read(_INSIDE + "labels.csv").decode())
        for label in ("functional", "defective"):
            make_folder(partial / label)
        for name, probability in cells:
            label = "defective" if probability >= 0.5 else "functional"
            with archive.open(_INSIDE + name) as picture:
                content = picture.read(_MAX_PICTURE_BYTES)
            (partial / label / Path(name).name).write_bytes(content)
    partial.rename(data)  # the folder appears only when complete


def _labels(text: str) -> list[tuple[str, float]]:
    """(picture, probability of a defect) from the data set's table; columns are space-padded."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    if not rows or any(len(row) < 2 for row in rows):
        raise DataError("elpv-dataset's labels.csv has another layout than expected.")
    return [(row[0], float(row[1])) for row in rows]


def _short(path: Path) -> str:
    """`defective/cell0003.png`: the true class and the picture."""
    return f"{path.parent.name}/{path.name}"


def _row(artifact: Artifact, timed: BenchReport) -> DemoRow:
    measured = artifact.measured
    assert measured and measured.top1 is not None and measured.drop_pp is not None  # labelled
    times = _times_of(artifact, timed).inference
    return DemoRow(
        artifact=artifact.name,
        megabytes=artifact.bytes / 1e6,
        top1=measured.top1,
        drop_pp=measured.drop_pp,
        agreement=measured.agreement,
        p50_ms=times.p50_ms,
        p90_ms=times.p90_ms,
    )


def _times_of(artifact: Artifact, timed: BenchReport) -> BenchRow:
    engine = FORMATS[artifact.format].engine
    return next(
        row
        for row in timed.rows
        if row.artifact == artifact.name and row.engine.split()[0] == engine
    )
