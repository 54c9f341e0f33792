"""Makes a bundle's manifest: its members, the artifacts with their scores, provenance."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import msgspec

import edgetl
from edgetl.bundle.archive import member_of
from edgetl.bundle.manifest import (
    SCHEMA_VERSION,
    Artifact,
    Manifest,
    Measured,
    Member,
    Provenance,
    Target,
    TensorSpec,
)
from edgetl.bundle.reports import TeacherFacts
from edgetl.devices.profile import DeviceProfile
from edgetl.evaluation.metrics import expected_drop
from edgetl.evaluation.paired import count_flips, worst_class
from edgetl.evaluation.temperature import expected_calibration_error
from edgetl.workstation.export.artifacts import ExportedArtifact
from edgetl.workstation.export.formats.registry import versions
from edgetl.workstation.export.job import ExportJob
from edgetl.workstation.export.measurement import TORCH, Measurement
from edgetl.workstation.export.pictures import CALIBRATION_SEED
from edgetl.workstation.recipe import RECIPE_FILE

GOLDEN_FILE = "golden.npz"
HEAD_FILE = "head.f32"
STATISTICS_FILE = "training.npz"


def make_manifest(
    job: ExportJob,
    artifacts: Sequence[ExportedArtifact],
    measurement: Measurement,
    contents: Mapping[str, bytes],
    target: DeviceProfile | None,
) -> Manifest:
    """Make the manifest of a bundle, without the layer sensitivities.

    Args:
        job: the export.
        artifacts: the artifacts in the bundle.
        measurement: how they did on the held-out pictures.
        contents: the bundle's other members, by name.
        target: the device that the bundle is made for.
    """
    facts = job.facts
    return Manifest(
        schema_version=SCHEMA_VERSION,
        labels=facts.labels,
        preprocess=facts.preprocess,
        artifacts=tuple(_describe(job, artifact, measurement, contents) for artifact in artifacts),
        golden=member_of(GOLDEN_FILE, contents[GOLDEN_FILE]),
        recipe=member_of(RECIPE_FILE, contents[RECIPE_FILE]),
        provenance=_provenance(job, any(a.attempts for a in artifacts), measurement),
        temperature=facts.temperature,
        temperature_from=facts.temperature_from,
        target=_target_of(target) if target else None,
        head=_optional_member(HEAD_FILE, contents),
        training_statistics=_optional_member(STATISTICS_FILE, contents),
    )


def _describe(
    job: ExportJob,
    artifact: ExportedArtifact,
    measurement: Measurement,
    contents: Mapping[str, bytes],
) -> Artifact:
    """Describe an artifact: its files, scores on the held-out pictures, and its int8 share."""
    facts = job.facts
    size, width = facts.preprocess.size_px, facts.head.width(len(facts.labels))
    quantized, precision = bool(artifact.attempts), artifact.precision
    own = measurement.calibrations[artifact.name]
    return Artifact(
        format=artifact.format,
        scheme=artifact.scheme,
        files=tuple(member_of(name, contents[name]) for name in artifact.member_names()),
        input=TensorSpec(name="pixels", shape=(1, size, size, 3), dtype="uint8"),
        output=TensorSpec(name="logits", shape=(1, width), dtype="float32"),
        measured=_measured(job, artifact.name, measurement),
        temperature=own.temperature if quantized and own.source not in (None, "twin") else None,
        attempts=artifact.attempts,
        float_operators=precision.float_operators if precision else {},
        int8_macs=precision.int8_macs if precision else None,
        reduced_range=quantized and job.constraints.reduced_range,
        feature_map=measurement.feature_maps.get(artifact.name),
        unknown=measurement.unknown[artifact.name],
        profile=measurement.profiles[artifact.name],
    )


def _measured(job: ExportJob, name: str, measurement: Measurement) -> Measured:
    """Compare an artifact with the torch model on the held-out pictures."""
    held_out, answers = job.pictures.held_out, measurement.answers
    torch, own = measurement.calibrations[TORCH], measurement.calibrations[name]
    logits, reference = answers.logits[name], answers.logits[TORCH]
    expected = expected_drop(logits, reference, job.facts.temperature)
    unlabelled = Measured(
        engine=measurement.engines[name],
        images=len(answers.truth),
        part=held_out.part,
        top1=None,
        drop_pp=None,
        agreement=answers.agreement(name, TORCH),
        expected_drop_pp=round(100 * float(expected.mean()), 4),
    )
    if not held_out.labelled:
        return unlabelled
    truth, was, now = answers.truth, answers.predicted(TORCH), answers.predicted(name)
    flips = count_flips(truth, was, now)
    return msgspec.structs.replace(
        unlabelled,
        top1=answers.top1(name),
        drop_pp=round(100 * (flips.lost - flips.won) / len(truth), 4),
        drop_interval_pp=flips.interval_pp,
        lost=flips.lost,
        won=flips.won,
        worst_class=worst_class(truth, was, now, job.facts.labels),
        torch_ece=expected_calibration_error(truth, reference, torch.per_picture),
        ece=expected_calibration_error(truth, logits, own.per_picture),
        temperature_from=own.source,
    )


def _provenance(job: ExportJob, calibrated: bool, measurement: Measurement) -> Provenance:
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
        torch_top1=measurement.answers.top1(TORCH) if job.pictures.held_out.labelled else None,
        calibration=names,
        calibration_seed=CALIBRATION_SEED,
        added=_counts(job.split.added),
        twin=job.facts.twin,
        teacher=_without_folder(job.facts.teacher),
        unlabelled=_counts(job.split.unlabelled),
    )


def _without_folder(teacher: TeacherFacts | None) -> TeacherFacts | None:
    """The teacher by the name of its folder or file alone: where it lay is nobody's business."""
    if teacher is None:
        return None
    return msgspec.structs.replace(teacher, source=Path(teacher.source).name)


def _counts(by_source: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """How many pictures are from each folder or table, by its name."""
    counts: Counter[str] = Counter()
    for source, names in by_source.items():
        counts[Path(source).name] += len(names)
    return dict(counts)


def _optional_member(name: str, contents: Mapping[str, bytes]) -> Member | None:
    return member_of(name, contents[name]) if name in contents else None


def _target_of(device: DeviceProfile) -> Target:
    return Target(
        device=device.name, isa=device.isa, engines=device.engines, threads=device.threads
    )
