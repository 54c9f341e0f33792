"""`edgetl report`: one self-contained HTML page about runs and bundles."""

from collections.abc import Sequence
from pathlib import Path

from edgetl.benchmarking.reports import BenchReport
from edgetl.benchmarking.run import bench
from edgetl.bundle.archive import Bundle
from edgetl.core.errors import EdgetlError, EngineError
from edgetl.core.files import require_writable, write_text
from edgetl.core.progress import Progress, Silent
from edgetl.core.schema import from_json, read_document
from edgetl.data.check import check_pictures
from edgetl.workstation.datasets.locate import locate
from edgetl.workstation.report.page import render_page
from edgetl.workstation.report.robustness import score_attacked
from edgetl.workstation.report.scores import ReportSource
from edgetl.workstation.report.sections import make_section
from edgetl.workstation.report.sources import (
    CHECKPOINT,
    Pictures,
    data_of,
    held_out,
    open_bundle,
    open_run,
    pictures_of,
    with_pictures,
)

_BENCH_PICTURES = 6


def report(
    targets: Sequence[str | Path],
    out: str | Path,
    *,
    data: str | Path | None = None,
    benchmark: BenchReport | str | Path | bool = True,
    corruptions: bool = True,
    attack: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a report of runs and bundles as one HTML file that needs no network.

    Args:
        targets: run folders and bundles, at least one.
        out: the file to write.
        data: labelled pictures to score on; None: those that the first run held out. Without any,
            the report has what the bundles say of themselves.
        benchmark: True: time bundles on this machine; False: show no times; or a report of
            `edgetl.bench`, or the path of one that `edgetl bench --json` wrote, on a device, say.
        corruptions: whether to score 100 of the pictures with blur, noise, compression, darkness
            and a colour cast as well.
        attack: whether to change 100 of the pictures by a run's own gradients (FGSM and PGD), and
            to see how many artifacts follow it into the mistake. Needs a run.
        progress: where to show how far it is.

    Returns the path. Raises EdgetlError, before the scoring, if a target cannot be read or the
    pictures have labels that a target does not know.

    Examples:
        ```python
        page = edgetl.report(["run", "model.edgetl"], "report.html", benchmark=times)
        print(page.stat().st_size, "bytes")
        ```
    """
    out, progress = Path(out), progress or Silent()
    require_writable(out)
    sources, pictures, notes = _open(targets, data, progress)
    if attack and not any(source.network and source.examples for source in sources):
        raise EdgetlError(
            "A gradient attack needs a run, whose network has gradients, and pictures.",
            hint="add the run that the bundle is from: edgetl report RUN BUNDLE --attack.",
        )
    given = _given_benchmark(benchmark)
    sections = []
    for source in sources:
        timed = _timed(source, given, notes, progress) if benchmark else None
        section = make_section(source, timed, notes, progress, corruptions=corruptions)
        if attack and source.examples:
            section = section._replace(attacked=score_attacked(source, progress))
        sections.append(section)
    if given and not any(section.timed for section in sections):
        notes.append(f"The benchmark is of another bundle, '{given.bundle}', and is not shown.")
    data_set = data_of(sources, pictures)
    name = str(data_set.base) if data_set else ""
    checked = check_pictures(data_set, name, progress) if data_set else None
    write_text(out, render_page(sections, pictures, checked, notes))
    return out


def _open(
    targets: Sequence[str | Path], data: str | Path | None, progress: Progress
) -> tuple[list[ReportSource], Pictures | None, list[str]]:
    """Open the targets and give them their pictures; returns notes for the page as well."""
    notes: list[str] = []
    sources: list[ReportSource] = []
    pictures: Pictures | None = None
    for target in map(Path, targets):
        if target.is_dir():
            source = open_run(target)
            if source.split and data is None and pictures is None:
                pictures = held_out(source.split, notes)
        else:
            source, missing = open_bundle(target)
            notes += missing
        sources.append(source)
    if data is not None:
        pictures = pictures_of(locate(Path(data), progress), sources[0].labels)
    if pictures is None:
        notes.append(
            "No pictures were given, so scores are those that the bundle was exported with, and "
            "there are no mistakes, confusions or class scores: add --data DIR or the run."
        )
    return [with_pictures(s, pictures) for s in _joined(sources)], pictures, notes


def _joined(sources: Sequence[ReportSource]) -> list[ReportSource]:
    """Show a run together with its bundle, whose reference is then the run's torch model.

    Its bundle is the first one with the same labels and preprocessing.
    """
    joined = list(sources)
    for run in [source for source in sources if source.manifest is None]:
        for place, bundle in enumerate(joined):
            same = (bundle.labels, bundle.preprocess) == (run.labels, run.preprocess)
            if bundle.manifest and same and bundle.models[:1] != run.models:
                checkpoint = tuple(fact for fact in run.facts if fact[0] == CHECKPOINT)
                joined[place] = bundle._replace(
                    models=(*run.models, *bundle.models), facts=checkpoint, curve=run.curve,
                    network=run.network, split=run.split,
                )  # fmt: skip
                joined.remove(run)
                break
    return joined


def _given_benchmark(benchmark: BenchReport | str | Path | bool) -> BenchReport | None:
    if isinstance(benchmark, str | Path):
        return from_json(read_document(Path(benchmark)), BenchReport, where=f"'{benchmark}'")
    return benchmark if isinstance(benchmark, BenchReport) else None


def _timed(
    source: ReportSource, given: BenchReport | None, notes: list[str], progress: Progress
) -> BenchReport | None:
    """The benchmark of a bundle: the given one if it is of this bundle, else a new one."""
    if source.manifest is None:
        return None
    bundle = Bundle(source.title)
    if given is not None:
        return given if given.bundle_digest == bundle.digest else None
    step = max(1, len(source.examples) // _BENCH_PICTURES)
    few = [e.path for e in source.examples[::step] if e.path.is_file()][:_BENCH_PICTURES]
    try:
        return bench(bundle, few, profiled=True, progress=progress)
    except EngineError as error:
        notes.append(f"'{source.title}' was not timed: {error}")
        return None
