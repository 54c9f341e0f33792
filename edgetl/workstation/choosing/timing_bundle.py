"""A bundle of an untrained network in int8, to measure what it takes: weights change no latency."""

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import edgetl
from edgetl.bundle.archive import Bundle, member_of, write_bundle
from edgetl.bundle.manifest import SCHEMA_VERSION, Artifact, Manifest, Provenance, TensorSpec
from edgetl.core.errors import EdgetlError
from edgetl.core.progress import Silent
from edgetl.core.schema import to_yaml
from edgetl.workstation.choosing.results import Candidate
from edgetl.workstation.export.formats.registry import versions
from edgetl.workstation.export.int8.constraints import QuantizationConstraints
from edgetl.workstation.export.manifest import GOLDEN_FILE
from edgetl.workstation.export.measurement import golden_file
from edgetl.workstation.export.untrained import UntrainedInt8
from edgetl.workstation.recipe import RECIPE_FILE, Recipe


def write_timing_bundle(
    out: Path,
    candidate: Candidate,
    formats: Sequence[str],
    recipe: Recipe,
    labels: Sequence[str],
    constraints: QuantizationConstraints,
) -> tuple[Bundle, list[str]]:
    """Write a candidate's bundle with random weights, and int8 ranges from noise.

    Args:
        out: the file to write.
        candidate: the network and its picture size.
        formats: the formats to write it in.
        recipe: its head is the recipe's.
        labels: the classes.
        constraints: what the device's int8 kernels require.

    Returns the bundle, and why each of the formats that are missing in it could not be written.
    Raises EdgetlError if none could.
    """
    recipe = candidate.recipe(recipe)
    untrained = UntrainedInt8(recipe, len(labels), constraints)
    answered, failures = untrained.write(formats, Silent())
    if not answered:
        raise EdgetlError(f"{candidate.name} cannot be exported {'; '.join(failures)}")
    written = [each.artifact for each in answered]
    contents = {RECIPE_FILE: to_yaml(recipe).encode()}
    for artifact in written:
        contents |= dict(zip(artifact.member_names(), artifact.files, strict=True))
    contents[GOLDEN_FILE] = golden_file(
        untrained.pictures, {each.artifact.name: each.logits for each in answered}
    )
    size, width = candidate.image_size_px, recipe.head.width(len(labels))
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        labels=tuple(labels),
        preprocess=untrained.preprocess,
        artifacts=tuple(
            Artifact(
                format=artifact.format,
                scheme=artifact.scheme,
                files=tuple(member_of(name, contents[name]) for name in artifact.member_names()),
                input=TensorSpec(name="pixels", shape=(1, size, size, 3), dtype="uint8"),
                output=TensorSpec(name="logits", shape=(1, width), dtype="float32"),
                reduced_range=constraints.reduced_range,
            )
            for artifact in written
        ),
        golden=member_of(GOLDEN_FILE, contents[GOLDEN_FILE]),
        recipe=member_of(RECIPE_FILE, contents[RECIPE_FILE]),
        provenance=_provenance(candidate),
    )
    write_bundle(out, manifest, contents)
    return Bundle(out), failures


def _provenance(candidate: Candidate) -> Provenance:
    return Provenance(
        edgetl=edgetl.__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        backbone=candidate.backbone,
        weights="none: an untrained network, to measure latency with",
        data="",
        training_images=0,
        calibration_images=0,
        versions=versions(),
    )
