"""Measure one artifact with one engine: latency, cold start, memory, energy, throughput."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.benchmarking.cold import measure_cold
from edgetl.benchmarking.conditions import read_conditions
from edgetl.benchmarking.energy import energy_meter
from edgetl.benchmarking.latency import (
    MIN_CALLS,
    QUICK,
    VALID,
    WARM_UP_CALLS,
    Clock,
    Rules,
    summarise,
    time_calls,
)
from edgetl.benchmarking.load import LoadMeter
from edgetl.benchmarking.profile import profile
from edgetl.benchmarking.reports import (
    BenchRow,
    Energy,
    Latency,
    Mode,
    Profile,
    Surroundings,
    Throughput,
)
from edgetl.benchmarking.throughput import run_side_by_side
from edgetl.bundle.archive import Bundle
from edgetl.runtime.classifier import Classifier, usable_cores

# In mode "valid", other processes' load is measured for at least this long before timing.
_WATCH_S = 1.0


class BenchTarget(NamedTuple):
    """An engine and an artifact, as `Classifier` takes them: "auto" and None let it choose."""

    engine: str
    artifact: str | None


class BenchOptions(NamedTuple):
    """What to measure of each artifact.

    Attributes:
        pictures: files for decode, preprocess and end-to-end times.
        threads: the engine's threads; None: `Classifier`'s default.
        mode: how much is timed, and whether throughput is measured.
        calls: the least number of timed calls of each stage, in every mode.
        profiled: whether to time each operator.
        clock: returns seconds, from any starting point.
    """

    pictures: Sequence[Path] = ()
    threads: int | None = None
    mode: Mode = "quick"
    calls: int = MIN_CALLS
    profiled: bool = False
    clock: Clock = time.perf_counter

    def rules(self) -> Rules:
        """How many calls and seconds to time in this mode."""
        if self.mode == "valid":
            return Rules(max(self.calls, VALID.calls), VALID.seconds)
        return Rules(self.calls, QUICK.seconds)


class _Stages(NamedTuple):
    """Latency of each stage, and the energy of one inference; None if not measured."""

    inference: Latency
    decode: Latency | None
    preprocess: Latency | None
    end_to_end: Latency | None
    energy: Energy | None


def measure(bundle: Bundle, target: BenchTarget, options: BenchOptions) -> BenchRow:
    """Measure one artifact with one engine. Raises EngineError if it fails.

    The cold start in a fresh interpreter is measured first: an engine that crashes there does not
    end this process.
    """
    load = LoadMeter()
    picture = options.pictures[0] if options.pictures else None
    cold = measure_cold(bundle.path, target.engine, target.artifact, options.threads, picture)
    classifier = _classifier(bundle, target, options.threads)
    pixels = _made_pixels(classifier)
    others_before = load.lap(_WATCH_S if options.mode == "valid" else 0.0)
    _warm_up(lambda _: classifier.logits(pixels))
    before = read_conditions()
    load.lap()
    stages = _time_stages(classifier, pixels, options)
    others_during = load.lap()
    after = read_conditions()
    return BenchRow(
        artifact=classifier.artifact.name,
        engine=classifier.engine_version,
        provider=classifier.provider,
        threads=classifier.threads,
        bytes=classifier.artifact.bytes,
        inference=stages.inference,
        decode=stages.decode,
        preprocess=stages.preprocess,
        end_to_end=stages.end_to_end,
        cold_start_ms=cold.cold_start_ms,
        peak_memory_bytes=cold.peak_memory_bytes,
        surroundings=Surroundings(
            before=before, after=after, others_before=others_before, others_during=others_during
        ),
        energy=stages.energy,
        throughput=_throughput(bundle, target, classifier)
        if options.mode == "throughput"
        else None,
        profile=_profile(bundle, classifier, pixels) if options.profiled else None,
    )


def _classifier(bundle: Bundle, target: BenchTarget, threads: int | None) -> Classifier:
    return Classifier(bundle, engine=target.engine, artifact=target.artifact, threads=threads)


def _made_pixels(classifier: Classifier) -> NDArray[np.uint8]:
    """Random pixels of the network's input size, uint8 [size, size, 3], always the same."""
    size_px = classifier.preprocess.size_px
    return np.random.default_rng(0).integers(0, 256, (size_px, size_px, 3), np.uint8)


def _warm_up(call: Callable[[int], object]) -> None:
    for i in range(WARM_UP_CALLS):
        call(i)


def _time_stages(
    classifier: Classifier, pixels: NDArray[np.uint8], options: BenchOptions
) -> _Stages:
    """Time the engine alone, which is warmed up; then each stage, if there are pictures."""
    rules, meter = options.rules(), energy_meter()
    if meter:
        meter.start()
    inference = time_calls(
        lambda: classifier.logits(pixels),
        calls=rules.calls,
        seconds=rules.seconds,
        warm_up=0,
        clock=options.clock,
    )
    energy = None
    if meter:
        spent_mj = meter.stop() / inference.calls
        energy = Energy(per_inference_mj=spent_mj, source=meter.source)
    if not options.pictures:
        return _Stages(inference, None, None, None, energy)
    return _Stages(inference, *_time_pictures(classifier, options), energy)


def _time_pictures(
    classifier: Classifier, options: BenchOptions
) -> tuple[Latency, Latency, Latency]:
    """Decode, preprocess and end-to-end latency, cycling through the pictures."""
    pictures, rules = options.pictures, options.rules()
    decode_ms: list[float] = []
    preprocess_ms: list[float] = []

    def classify() -> None:
        prediction = classifier(pictures[len(decode_ms) % len(pictures)])
        decode_ms.append(prediction.decode_ms)
        preprocess_ms.append(prediction.preprocess_ms)

    _warm_up(lambda i: classifier(pictures[i % len(pictures)]))
    whole = time_calls(
        classify, calls=rules.calls, seconds=rules.seconds, warm_up=0, clock=options.clock
    )
    return summarise(decode_ms), summarise(preprocess_ms), whole


def _throughput(bundle: Bundle, target: BenchTarget, classifier: Classifier) -> Throughput:
    """On the CPU, run one engine with one thread per core; elsewhere only the given engine."""
    if not _on_cpu(classifier):
        each = [classifier]
    else:
        each = [_classifier(bundle, target, 1) for _ in range(usable_cores())]
    pixels = _made_pixels(classifier)
    return run_side_by_side([_call_of(one, pixels) for one in each])


def _call_of(classifier: Classifier, pixels: NDArray[np.uint8]) -> Callable[[], object]:
    return lambda: classifier.logits(pixels)


def _profile(bundle: Bundle, classifier: Classifier, pixels: NDArray[np.uint8]) -> Profile:
    if not _on_cpu(classifier):
        note = f"edgetl profiles on the CPU only, and this ran on {classifier.provider}."
        return Profile(calls=0, operators=(), kinds=(), note=note)
    return profile(
        classifier.engine_name,
        bundle.files(classifier.artifact),
        pixels[np.newaxis],
        threads=classifier.threads,
    )


def _on_cpu(classifier: Classifier) -> bool:
    return classifier.provider.startswith("CPU")
