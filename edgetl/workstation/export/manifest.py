"""Makes a bundle's manifest: artifacts with their scores, golden samples, provenance."""

import io
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import numpy as np

import edgetl
from edgetl.bundle.archive import member_of
from edgetl.bundle.manifest import (
    SCHEMA_VERSION,
    Artifact,
    Manifest,
    Measured,
    Provenance,
    Target,
    TensorSpec,
)
from edgetl.data.split import pick_balanced
from edgetl.devices.profile import DeviceProfile
from edgetl.evaluation.accuracy import ModelLogits
from edgetl.evaluation.metrics import expected_drop
from edgetl.evaluation.paired import count_flips, worst_class
from edgetl.evaluation.temperature import Calibration, expected_calibration_error
from edgetl.runtime.engines.spec import Engine
from edgetl.workstation.export.artifacts import ArtifactBuilder, ExportedArtifact, engine_logits
from edgetl.workstation.export.formats.registry import FORMATS, versions
from edgetl.workstation.export.job import ExportJob
from edgetl.workstation.export.measurement import TORCH, artifact_calibration, torch_calibration
from edgetl.workstation.export.pictures import CALIBRATION_SEED, prepared
from edgetl.workstation.recipe import RECIPE_FILE

GOLDEN_SAMPLES = 8
GOLDEN_FILE = "golden.npz"


def golden_samples(job: ExportJob, engines: Mapping[str, Engine]) -> bytes:
    """Return `golden.npz`: a few held-out pictures, uint8, and every artifact's logits, float32."""
    picked = pick_balanced(job.pictures.held_out.examples, 2 * GOLDEN_SAMPLES, seed=0)
    pixels = prepared(picked, job.facts.preprocess)[:GOLDEN_SAMPLES]
    arrays = {name: engine_logits(engine, pixels) for name, engine in engines.items()}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, inputs=np.stack(pixels), **arrays)
    return buffer.getvalue()


def make_manifest(
    job: ExportJob,
    builder: ArtifactBuilder,
    artifacts: Sequence[ExportedArtifact],
    engines: Mapping[str, Engine],
    answers: ModelLogits,
    contents: Mapping[str, bytes],
    target: DeviceProfile | None,
) -> Manifest:
    """Make the manifest of a bundle, without the layer sensitivities.

    Args:
        job: the export.
        builder: the builder of the artifacts.
        artifacts: the artifacts in the bundle.
        engines: the engine that each was measured with, by the artifact's name.
        answers: logits of the torch model and of every artifact for the held-out pictures.
        contents: the bundle's other members, by name.
        target: the device that the bundle is made for.
    """
    facts = job.facts
    torch = torch_calibration(job, answers)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        labels=facts.labels,
        preprocess=facts.preprocess,
        artifacts=tuple(
            _describe(job, builder, artifact, engines[artifact.name], answers, torch)
            for artifact in artifacts
        ),
        golden=member_of(GOLDEN_FILE, contents[GOLDEN_FILE]),
        recipe=member_of(RECIPE_FILE, contents[RECIPE_FILE]),
        provenance=_provenance(job, any(a.attempts for a in artifacts), answers),
        temperature=facts.temperature,
        temperature_from=facts.temperature_from,
        target=_target_of(target) if target else None,
    )


def _describe(
    job: ExportJob,
    builder: ArtifactBuilder,
    artifact: ExportedArtifact,
    engine: Engine,
    answers: ModelLogits,
    torch: Calibration,
) -> Artifact:
    """Describe an artifact: its files, scores on the held-out pictures, and its int8 share."""
    facts = job.facts
    size, width = facts.preprocess.size_px, facts.head.width(len(facts.labels))
    quantized = bool(artifact.attempts)
    precision = builder.precision(artifact) if quantized else None
    own = artifact_calibration(artifact, answers, torch)
    files = zip(artifact.member_names(), artifact.files, strict=True)
    return Artifact(
        format=artifact.format,
        scheme=artifact.scheme,
        files=tuple(member_of(name, file) for name, file in files),
        input=TensorSpec(name="pixels", shape=(1, size, size, 3), dtype="uint8"),
        output=TensorSpec(name="logits", shape=(1, width), dtype="float32"),
        measured=_measured(job, artifact, engine, answers, torch, own),
        temperature=own.temperature if quantized and own.source not in (None, "twin") else None,
        attempts=artifact.attempts,
        float_operators=precision.float_operators if precision else {},
        int8_macs=precision.int8_macs if precision else None,
        reduced_range=quantized and job.constraints.reduced_range,
    )


def _measured(
    job: ExportJob,
    artifact: ExportedArtifact,
    engine: Engine,
    answers: ModelLogits,
    torch: Calibration,
    own: Calibration,
) -> Measured:
    held_out = job.pictures.held_out
    logits, reference = answers.logits[artifact.name], answers.logits[TORCH]
    expected = expected_drop(logits, reference, job.facts.temperature)
    unlabelled = Measured(
        engine=f"{FORMATS[artifact.format].engine} {engine.version}",
        images=len(answers.truth),
        part=held_out.part,
        top1=None,
        drop_pp=None,
        agreement=answers.agreement(artifact.name, TORCH),
        expected_drop_pp=round(100 * float(expected.mean()), 4),
    )
    if not held_out.labelled:
        return unlabelled
    truth, was, now = answers.truth, answers.predicted(TORCH), answers.predicted(artifact.name)
    flips = count_flips(truth, was, now)
    return msgspec.structs.replace(
        unlabelled,
        top1=answers.top1(artifact.name),
        drop_pp=round(100 * (flips.lost - flips.won) / len(truth), 4),
        drop_interval_pp=flips.interval_pp,
        lost=flips.lost,
        won=flips.won,
        worst_class=worst_class(truth, was, now, job.facts.labels),
        torch_ece=expected_calibration_error(truth, reference, torch.per_picture),
        ece=expected_calibration_error(truth, logits, own.per_picture),
        temperature_from=own.source,
    )


def _provenance(job: ExportJob, calibrated: bool, answers: ModelLogits) -> Provenance:
    """Return the model's origin, with the calibration pictures if any were used."""
    names = job.pictures.calibration_names() if calibrated else ()
    return Provenance(
        edgetl=edgetl.__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        backbone=job.facts.backbone,
        weights=job.facts.weights,
        data=Path(job.split.root).name,
        training_images=job.facts.training_images,
        calibration_images=len(names),
        versions=versions(),
        torch_top1=answers.top1(TORCH) if job.pictures.held_out.labelled else None,
        calibration=names,
        calibration_seed=CALIBRATION_SEED,
        twin=job.facts.twin,
    )


def _target_of(device: DeviceProfile) -> Target:
    return Target(
        device=device.name, isa=device.isa, engines=device.engines, threads=device.threads
    )
