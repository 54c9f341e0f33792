"""A bundle of an untrained network in int8, to measure what it takes: weights change no latency."""

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch

import edgetl
from edgetl.bundle.archive import Bundle, member_of, write_bundle
from edgetl.bundle.manifest import SCHEMA_VERSION, Artifact, Manifest, Provenance, TensorSpec
from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.console import suppress_native_output
from edgetl.core.errors import EdgetlError, first_line
from edgetl.core.schema import to_yaml
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.backbones.build import build_network
from edgetl.workstation.backbones.catalogue import find_backbone
from edgetl.workstation.choosing.results import Candidate
from edgetl.workstation.export.artifacts import (
    ExportedArtifact,
    engine_logits,
    load_measuring_engine,
)
from edgetl.workstation.export.formats.registry import FORMATS, versions
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.int8.constraints import QuantizationConstraints
from edgetl.workstation.export.int8.plan import QuantizationPlan, plan_by_ranges
from edgetl.workstation.export.int8.ranges import SYMMETRIC_ZERO
from edgetl.workstation.export.manifest import GOLDEN_FILE
from edgetl.workstation.export.measurement import golden_file
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
    plan, spec = _int8_plan(candidate, recipe, len(labels), constraints)
    pictures = _noise(spec.size_px)
    written, failures = _write_formats(plan, formats, pictures[0])
    if not written:
        raise EdgetlError(f"{candidate.name} cannot be exported {'; '.join(failures)}")
    contents = {RECIPE_FILE: to_yaml(candidate.recipe(recipe)).encode()}
    for artifact in written:
        contents |= dict(zip(artifact.member_names(), artifact.files, strict=True))
    contents[GOLDEN_FILE] = golden_file(
        pictures,
        {
            artifact.name: engine_logits(
                load_measuring_engine(artifact.format, artifact.files), pictures
            )
            for artifact in written
        },
    )
    size, width = spec.size_px, recipe.head.width(len(labels))
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        labels=tuple(labels),
        preprocess=spec,
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


def _int8_plan(
    candidate: Candidate, recipe: Recipe, classes: int, constraints: QuantizationConstraints
) -> tuple[QuantizationPlan, Preprocess]:
    """The int8 network with random weights, and how pictures would be prepared for it."""
    backbone = find_backbone(candidate.backbone)
    torch.manual_seed(recipe.seed)
    network = build_network(backbone, classes, recipe.head)
    source = backbone.sources[0]
    spec = Preprocess(size_px=candidate.image_size_px, mean=source.mean, std=source.std)
    size = (spec.size_px, spec.size_px)
    graph = DeployGraph(network.model, mean=spec.mean, std=spec.std, size=size)
    zero = SYMMETRIC_ZERO if constraints.symmetric else None
    plan = plan_by_ranges(graph.with_whole_pixels(zero), _noise(spec.size_px), constraints)
    return plan, spec


def _write_formats(
    plan: QuantizationPlan, formats: Sequence[str], picture: Pixels
) -> tuple[list[ExportedArtifact], list[str]]:
    """Write the network in each format; returns those, and why others could not be written."""
    written, failures = [], []
    for name in formats:
        try:
            with suppress_native_output():
                files = FORMATS[name].write_int8(plan, picture)
        except Exception as error:  # converters raise errors of many kinds
            failures.append(f"as {name}: {first_line(error)}")
        else:
            written.append(ExportedArtifact(name, "int8", files))
    return written, failures


def _noise(size_px: int) -> list[Pixels]:
    """Two pictures of noise, uint8 [size, size, 3], always the same."""
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (size_px, size_px, 3), np.uint8) for _ in range(2)]


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
