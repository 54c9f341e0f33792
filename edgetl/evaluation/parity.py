"""Parity: whether the engines on this machine reproduce the workstation's golden samples."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.archive import Bundle
from edgetl.bundle.manifest import Artifact
from edgetl.bundle.reports import ParityReport, ParityStatus
from edgetl.core.errors import BundleError, EngineError, GateMissedError
from edgetl.core.progress import Progress, Silent
from edgetl.runtime.classifier import Classifier
from edgetl.runtime.engines.registry import ENGINES, engines_of, installed, no_engine_for
from edgetl.runtime.selection import Choice, limits_here
from edgetl.runtime.softmax import softmax

# The largest difference of a probability that is accepted on another processor. Float kernels sum
# in another order; int8 kernels may round ties differently, which later layers amplify.
TOLERANCE = {"fp32": 1e-3, "fp16": 2e-2, "int8": 0.1, "int8-mixed": 0.1}


def verify(bundle: Bundle | str | Path, progress: Progress | None = None) -> list[ParityReport]:
    """Run every artifact on its golden samples in each engine of its format.

    Args:
        bundle: the bundle, opened or as a path.
        progress: where progress is shown.

    An artifact whose format no registered engine runs is reported as absent. Raises BundleError if
    the samples do not fit the artifacts.

    Examples:
        ```python
        for result in edgetl.verify("model.edgetl"):
            print(result.artifact, result.engine, result.status)
        ```
    """
    bundle = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
    golden, artifacts = bundle.golden(), bundle.manifest.artifacts
    reports = []
    with (progress or Silent()).stage("verifying", len(artifacts), "artifacts") as shown:
        for artifact in artifacts:
            samples = _samples(bundle, artifact, golden)
            engines = [spec.name for spec in engines_of(artifact.format)]
            reports += [_check(bundle, artifact, engine, samples) for engine in engines]
            if not engines:
                error = no_engine_for(artifact.format)
                reports.append(
                    _report(artifact, "none", samples, "absent", detail=f"{error} {error.hint}")
                )
            shown.advance(1, artifact.name)
    return reports


def require_parity(reports: Sequence[ParityReport], machine: str = "this machine") -> None:
    """Raise an error unless every installed engine reproduced the golden samples.

    Args:
        reports: from `verify`.
        machine: where it ran, for messages.

    Raises GateMissedError if an engine was wrong or crashed, and EngineError if no engine for the
    bundle is installed.
    """
    failed = [r for r in reports if r.status in ("wrong", "crashed")]
    if failed:
        named = ", ".join(f"{r.artifact} through {r.engine}" for r in failed)
        raise GateMissedError(
            f"Parity failed on {machine}: {named}.",
            hint=f"run another engine or artifact on {machine}.",
        )
    if all(r.status == "absent" for r in reports):
        raise EngineError(
            "The hashes match, but no engine is installed to run the golden samples.",
            hint=reports[0].detail if reports else "",
        )


class _Samples(NamedTuple):
    """An artifact's golden samples: uint8 [N, size, size, 3], and logits float32 [N, classes]."""

    pixels: NDArray[np.uint8]
    logits: NDArray[np.float32]


def _check(bundle: Bundle, artifact: Artifact, engine: str, samples: _Samples) -> ParityReport:
    """Run an artifact's golden samples in one engine."""
    report = partial(_report, artifact, engine, samples)
    if not installed(engine):
        return report("absent", detail=ENGINES[engine].install_hint)
    if why := limits_here(Choice(engine, artifact)):
        return report("wrong", detail=why.rstrip("."))
    try:
        classifier = Classifier(bundle, engine=engine, artifact=artifact.name)
        # At temperature 1, not the bundle's: a high temperature would hide an engine's errors.
        logits = np.stack([classifier.logits(sample) for sample in samples.pixels])
    except EngineError as error:
        return report("crashed", detail=str(error))
    probabilities, reference = softmax(logits), softmax(samples.logits)
    same = int((probabilities.argmax(1) == reference.argmax(1)).sum())
    worst = float(np.abs(probabilities - reference).max())
    limit = TOLERANCE[artifact.scheme]
    # Within the tolerance a label can differ only if two classes are almost equally likely.
    if worst <= limit:
        return report("right", same, worst)
    return report("wrong", same, worst, f"a probability differs by {worst:.3f}; at most {limit}")


def _report(
    artifact: Artifact,
    engine: str,
    samples: _Samples,
    status: ParityStatus,
    same: int = 0,
    worst: float = 0.0,
    detail: str = "",
) -> ParityReport:
    return ParityReport(
        artifact=artifact.name,
        engine=engine,
        status=status,
        samples=len(samples.pixels),
        same_label=same,
        max_difference=worst,
        detail=detail,
    )


def _samples(
    bundle: Bundle, artifact: Artifact, golden: dict[str, NDArray[np.generic]]
) -> _Samples:
    inputs, expected = golden.get("inputs"), golden.get(artifact.name)
    size = bundle.manifest.preprocess.size_px
    labels = len(bundle.manifest.labels)
    fits = (
        inputs is not None
        and expected is not None
        and inputs.dtype == np.uint8
        and expected.dtype == np.float32
        and inputs.shape[1:] == (size, size, 3)
        and expected.shape == (len(inputs), labels)
        and len(inputs) > 0
    )
    if not fits:
        raise BundleError(
            f"'{bundle.path}': the golden samples do not fit artifact '{artifact.name}'.",
            hint="make the bundle again with `edgetl export`.",
        )
    return _Samples(inputs.astype(np.uint8), expected.astype(np.float32))  # type: ignore[union-attr]
