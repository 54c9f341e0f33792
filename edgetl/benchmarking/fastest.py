"""Find the fastest artifact, engine and thread count for this machine."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from edgetl.benchmarking.latency import time_calls
from edgetl.bundle.archive import Bundle
from edgetl.core.errors import EngineError
from edgetl.core.progress import Progress
from edgetl.evaluation.parity import verify
from edgetl.runtime.classifier import Classifier, usable_cores
from edgetl.runtime.selection import Choice, how_to_install, reason_against
from edgetl.runtime.tuned import Tuned, write_tuned

_CALLS = 60
_WARM_UP = 10


def tune(bundle: Bundle, progress: Progress) -> list[Tuned]:
    """Time every artifact with every installed engine, and store the fastest choice for `run`.

    Only artifacts and engines that reproduce the workstation's outputs on the golden samples are
    timed. Returns every result, fastest first. Raises EngineError if nothing can be timed or an
    engine fails.
    """
    reproducing = [
        Choice(report.engine, bundle.artifact(report.artifact))
        for report in verify(bundle, progress)
        if report.status == "right"
    ]
    right = [choice for choice in reproducing if not reason_against(bundle.manifest, choice)]
    if not right:
        raise EngineError(
            "No installed engine outputs for the golden samples what the workstation measured.",
            hint="`edgetl verify` says why. "
            f"To install an engine: {how_to_install(bundle.manifest)}",
        )
    timed = _time_all(bundle, right, progress)
    write_tuned(bundle, timed[0])
    return timed


def _time_all(bundle: Bundle, choices: Sequence[Choice], progress: Progress) -> list[Tuned]:
    """Time each choice with 1, 2, 4 ... threads, on random pixels.

    On a provider other than the CPU, only the largest thread count is timed. Returns the results,
    fastest first. Raises EngineError if an engine fails.
    """
    counts = list(_thread_counts(usable_cores()))
    size_px = bundle.manifest.preprocess.size_px
    pixels = np.random.default_rng(0).integers(0, 256, (size_px, size_px, 3), np.uint8)
    timed = []
    with progress.stage("tuning", len(choices) * len(counts), "combinations") as shown:
        for choice in choices:
            for threads in counts if choice.provider == "cpu" else counts[-1:]:
                classifier = Classifier(
                    bundle,
                    engine=f"{choice.engine}:{choice.provider}",
                    artifact=choice.artifact.name,
                    threads=threads,
                )
                call = partial(classifier.logits, pixels)
                latency = time_calls(call, calls=_CALLS, warm_up=_WARM_UP)
                timed.append(
                    Tuned(
                        artifact=choice.artifact.name,
                        engine=choice.engine,
                        provider=choice.provider,
                        threads=threads,
                        p50_ms=latency.p50_ms,
                    )
                )
                shown.advance(1, f"{choice.artifact.name} {latency.p50_ms:.2f} ms")
    return sorted(timed, key=lambda result: result.p50_ms)


def _thread_counts(cores: int) -> Iterator[int]:
    """Yields 1, 2, 4 ... and the number of cores."""
    count = 1
    while count < cores:
        yield count
        count *= 2
    yield cores
