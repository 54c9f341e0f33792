"""Benchmark a bundle's artifacts on this machine."""

import time
from collections.abc import Sequence
from pathlib import Path

from edgetl.benchmarking.host import host_facts
from edgetl.benchmarking.latency import MIN_CALLS, VALID, Clock
from edgetl.benchmarking.measure import BenchOptions, BenchTarget, measure
from edgetl.benchmarking.reports import BenchReport, BenchRow, Failed, Mode
from edgetl.benchmarking.validity import judge
from edgetl.bundle.archive import Bundle
from edgetl.core.errors import EngineError
from edgetl.core.progress import Progress, Silent
from edgetl.runtime.classifier import checked_threads
from edgetl.runtime.engines.registry import ENGINES, installed
from edgetl.runtime.selection import Choice, choose, how_to_install, reason_against


class CutShort(KeyboardInterrupt):
    """Ctrl-C interrupted the benchmark.

    Attributes:
        report: the report of the artifacts that were already measured.
    """

    def __init__(self, report: BenchReport) -> None:
        super().__init__()
        self.report = report


def bench(
    bundle: Bundle | str | Path,
    pictures: Sequence[Path] = (),
    *,
    engine: str = "all",
    artifact: str | None = None,
    threads: int | None = None,
    calls: int = MIN_CALLS,
    mode: Mode = "quick",
    profiled: bool = False,
    progress: Progress | None = None,
    clock: Clock = time.perf_counter,
) -> BenchReport:
    """Measure each artifact with each requested engine.

    Args:
        bundle: the bundle, opened or as a path.
        pictures: picture files for decode, preprocess and end-to-end times; without any, only
            inference is timed, on random pixels.
        engine: an engine's name, with or without a provider ("onnxruntime:cuda"); "auto": the
            engine that `run` would use; "all": every installed engine, on the CPU.
        artifact: measure only this one, e.g. "onnx-int8"; None: all.
        threads: the engine's threads; None: as many as `run` would use.
        calls: the least number of timed calls of each stage.
        mode: "quick"; "valid" keeps MLPerf's single-stream rules, at least 1,024 calls and 60 s of
            each stage; "throughput" is "quick" and also measures pictures per second on all cores.
        profiled: whether to time each operator, too, with the engine's own profiler.
        progress: where progress is shown.
        clock: times the calls; returns seconds, from any starting point.

    An engine that fails or crashes is listed in the report if others were measured. Raises
    EngineError if nothing that was requested can run, and CutShort at Ctrl-C.

    Examples:
        ```python
        from pathlib import Path

        times = edgetl.bench("model.edgetl", [Path("photo.jpg")], engine="auto")
        for row in times.rows:
            print(f"{row.artifact}: {row.inference.p50_ms:.1f} ms, {row.end_to_end.p50_ms:.1f} ms")
        ```
    """
    progress = progress or Silent()
    bundle = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
    if threads is not None:
        checked_threads(threads)
    targets = _targets(bundle, engine, artifact)
    options = BenchOptions(pictures, threads, mode, calls, profiled, clock)
    rows: list[BenchRow] = []
    failed: list[Failed] = []
    try:
        with progress.stage("benchmarking", len(targets), "artifacts") as shown:
            for target in targets:
                if mode == "valid":
                    minutes = (2 if pictures else 1) * VALID.seconds / 60
                    progress.say(
                        f"{_named(target)} through {target.engine}: {minutes:.0f} min or more"
                    )
                try:
                    row = measure(bundle, target, options)
                except EngineError as error:
                    failed.append(_failure(target, error))
                    shown.advance(1, f"{_named(target)} failed")
                else:
                    rows.append(row)
                    shown.advance(1, f"{row.artifact} {row.inference.p50_ms:.2f} ms")
    except KeyboardInterrupt:
        raise CutShort(_report(bundle, options, rows, failed, cut_short=True)) from None
    if not rows:
        raise not_measured(failed)
    return _report(bundle, options, rows, failed, cut_short=False)


def not_measured(failed: Sequence[Failed]) -> EngineError:
    """The error if nothing could be measured; `failed` is not empty."""
    return EngineError(" ".join(f.reason for f in failed), hint=failed[0].hint)


def _named(target: BenchTarget) -> str:
    return target.artifact or "what run takes"


def _failure(target: BenchTarget, error: EngineError) -> Failed:
    return Failed(artifact=_named(target), engine=target.engine, reason=str(error), hint=error.hint)


def _report(
    bundle: Bundle,
    options: BenchOptions,
    rows: Sequence[BenchRow],
    failed: Sequence[Failed],
    *,
    cut_short: bool,
) -> BenchReport:
    return BenchReport(
        bundle=str(bundle.path),
        bundle_digest=bundle.digest,
        pictures=len(options.pictures),
        mode=options.mode,
        host=host_facts(),
        rows=tuple(rows),
        cut_short=cut_short,
        failed=tuple(failed),
        verdict=judge(rows, options.mode, cut_short=cut_short),
    )


def _targets(bundle: Bundle, engine: str, artifact: str | None) -> list[BenchTarget]:
    if artifact:
        bundle.artifact(artifact)
    if engine == "auto":
        choose(bundle.manifest, engine, artifact)  # raises an error if the request is wrong
        return [BenchTarget(engine, artifact)]
    provider = "cpu" if engine == "all" else choose(bundle.manifest, engine, artifact).provider
    targets = [
        BenchTarget(f"{name}:{provider}" if provider != "cpu" else name, candidate.name)
        for candidate in bundle.manifest.artifacts
        for name, info in ENGINES.items()
        if engine.partition(":")[0] in ("all", name)
        and info.format == candidate.format
        and artifact in (None, candidate.name)
        and installed(name)
        and not reason_against(bundle.manifest, Choice(name, candidate))
    ]
    if not targets:
        raise EngineError(
            "No engine for this bundle is installed.", hint=how_to_install(bundle.manifest)
        )
    return targets
