"""Benchmark a bundle's artifacts on this machine."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgetl.bench.cold import measure_cold
from edgetl.bench.host import host_facts
from edgetl.bench.latency import MIN_CALLS, WARM_UP_CALLS, summarise, time_calls
from edgetl.core.bundle import Bundle
from edgetl.core.errors import EngineError
from edgetl.core.progress import Progress, Silent
from edgetl.core.reports import BenchReport, BenchRow, Latency
from edgetl.runtime.classifier import Classifier
from edgetl.runtime.engine import ENGINES, Choice, choose, installed, wrong_on_this_machine


def bench(
    bundle: Bundle,
    pictures: Sequence[Path] = (),
    *,
    engine: str = "all",
    artifact: str | None = None,
    threads: int | None = None,
    calls: int = MIN_CALLS,
    progress: Progress | None = None,
) -> BenchReport:
    """Measure each artifact through each engine asked for.

    Args:
        bundle: the bundle.
        pictures: picture files for decode, preprocess and end-to-end times; without any, only
            inference is timed, on made pixels.
        engine: an engine's name, "auto" for the one `run` would take, or "all" installed ones.
        artifact: only this one, e.g. "onnx-int8".
        threads: None takes one per core.
        calls: timed calls of each stage.

    Raises EngineError if nothing that was asked for can run.
    """
    progress = progress or Silent()
    choices = _choices(bundle, engine, artifact)
    rows = []
    with progress.stage("benchmarking", len(choices), "artifacts") as shown:
        for choice in choices:
            rows.append(_bench_one(bundle, choice, pictures, threads, calls))
            shown.advance(1, f"{choice.artifact.name} {rows[-1].inference.p50_ms:.2f} ms")
    return BenchReport(
        bundle=str(bundle.path), pictures=len(pictures), host=host_facts(), rows=tuple(rows)
    )


def _choices(bundle: Bundle, engine: str, artifact: str | None) -> list[Choice]:
    if artifact:
        bundle.artifact(artifact)
    if engine == "auto":
        return [choose(bundle.manifest, engine, artifact)]
    if engine != "all":
        choose(bundle.manifest, engine, artifact)  # says what is wrong with the request
    found = [
        Choice(name, candidate)
        for candidate in bundle.manifest.artifacts
        for name, info in ENGINES.items()
        if engine in ("all", name)
        and info.format == candidate.format
        and artifact in (None, candidate.name)
        and installed(name)
        and not wrong_on_this_machine(Choice(name, candidate))
    ]
    if not found:
        raise EngineError(
            "No engine for this bundle is installed.", hint="pip install 'edgetl[onnxruntime]'"
        )
    return found


def _bench_one(
    bundle: Bundle, choice: Choice, pictures: Sequence[Path], threads: int | None, calls: int
) -> BenchRow:
    classifier = Classifier(
        bundle, engine=choice.engine, artifact=choice.artifact.name, threads=threads
    )
    cold = measure_cold(
        bundle.path,
        choice.engine,
        choice.artifact.name,
        classifier.threads,
        pictures[0] if pictures else None,
    )
    size_px = classifier.preprocess.size_px
    pixels = np.random.default_rng(0).integers(0, 256, (size_px, size_px, 3), np.uint8)
    inference = time_calls(lambda: classifier.logits(pixels), calls=calls)
    decode, preprocess, end_to_end = _time_pictures(classifier, pictures, calls)
    return BenchRow(
        artifact=choice.artifact.name,
        engine=classifier.engine_version,
        threads=classifier.threads,
        bytes=choice.artifact.bytes,
        inference=inference,
        decode=decode,
        preprocess=preprocess,
        end_to_end=end_to_end,
        cold_start_ms=cold.cold_start_ms,
        peak_memory_bytes=cold.peak_memory_bytes,
    )


def _time_pictures(
    classifier: Classifier, pictures: Sequence[Path], calls: int
) -> tuple[Latency | None, Latency | None, Latency | None]:
    """Decode, preprocess and end-to-end latency, going round the pictures."""
    if not pictures:
        return None, None, None
    for i in range(WARM_UP_CALLS):
        classifier(pictures[i % len(pictures)])
    answers, whole_ms = [], []
    for i in range(calls):
        start = time.perf_counter()
        answers.append(classifier(pictures[i % len(pictures)]))
        whole_ms.append((time.perf_counter() - start) * 1e3)
    return (
        summarise([a.decode_ms for a in answers]),
        summarise([a.preprocess_ms for a in answers]),
        summarise(whole_ms),
    )
