"""Find the fastest way to run a bundle here, among those that answer as the workstation did."""

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
    """Time every artifact through every engine that is here, and keep the fastest for `run`.

    Only what answers the golden samples as the workstation did is considered. Returns all that was
    tried, fastest first. Raises EngineError where nothing is.
    """
    asked = [
        Choice(report.engine, bundle.artifact(report.artifact))
        for report in verify(bundle)
        if report.status == "right"
    ]
    right = [choice for choice in asked if not reason_against(bundle.manifest, choice)]
    if not right:
        raise EngineError(
            "No engine here answers the golden samples as the workstation did.",
            hint=f"edgetl verify says why; {how_to_install(bundle.manifest)} for an engine.",
        )
    tried = _try_all(bundle, right, progress)
    write_tuned(bundle, tried[0])
    return tried


def _try_all(bundle: Bundle, choices: Sequence[Choice], progress: Progress) -> list[Tuned]:
    """Time each choice with 1, 2, 4 ... threads, on made pixels; soonest first.

    Raises EngineError where an engine fails.
    """
    counts = list(_thread_counts(usable_cores()))
    size_px = bundle.manifest.preprocess.size_px
    pixels = np.random.default_rng(0).integers(0, 256, (size_px, size_px, 3), np.uint8)
    tried = []
    with progress.stage("tuning", len(choices) * len(counts), "ways") as shown:
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
                tried.append(
                    Tuned(
                        artifact=choice.artifact.name,
                        engine=choice.engine,
                        provider=choice.provider,
                        threads=threads,
                        p50_ms=latency.p50_ms,
                    )
                )
                shown.advance(1, f"{choice.artifact.name} {latency.p50_ms:.2f} ms")
    return sorted(tried, key=lambda way: way.p50_ms)


def _thread_counts(cores: int) -> Iterator[int]:
    """1, 2, 4 ... and the number of cores."""
    count = 1
    while count < cores:
        yield count
        count *= 2
    yield cores
