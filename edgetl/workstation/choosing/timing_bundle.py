"""A bundle of an untrained network in int8, to measure what it takes: weights change no latency."""

import io
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
from edgetl.workstation.backbones.build import build_network
from edgetl.workstation.backbones.catalogue import find_backbone
from edgetl.workstation.choosing.candidates import Candidate
from edgetl.workstation.export.artifacts import engine_logits, load_measuring_engine
from edgetl.workstation.export.formats.registry import FORMATS, versions
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.int8.constraints import QuantizationConstraints
from edgetl.workstation.export.int8.plan import plan_by_ranges
from edgetl.workstation.export.int8.ranges import SYMMETRIC_ZERO
from edgetl.workstation.recipe import RECIPE_FILE, Recipe

_GOLDEN_FILE = "golden.npz"
_PICTURES = 2


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
    backbone, size_px = find_backbone(candidate.backbone), candidate.size_px
    torch.manual_seed(recipe.seed)
    network = build_network(backbone, len(labels), recipe.head)
    source = backbone.sources[0]
    spec = Preprocess(size_px=size_px, mean=source.mean, std=source.std)
    generator = np.random.default_rng(0)
    pictures = [
        generator.integers(0, 256, (size_px, size_px, 3), np.uint8) for _ in range(_PICTURES)
    ]
    graph = DeployGraph(network.model, mean=spec.mean, std=spec.std, size=(size_px, size_px))
    zero = SYMMETRIC_ZERO if constraints.symmetric else None
    plan = plan_by_ranges(graph.with_whole_pixels(zero), pictures, constraints)
    contents = {RECIPE_FILE: to_yaml(candidate.recipe(recipe)).encode()}
    artifacts, golden, failures = [], {}, []
    for name in formats:
        try:
            with suppress_native_output():
                files = FORMATS[name].write_int8(plan, pictures[0])
        except Exception as error:  # converters raise errors of many kinds
            failures.append(f"as {name}: {first_line(error)}")
            continue
        named = {
            f"artifacts/{name}-int8.{suffix}": content
            for suffix, content in zip(FORMATS[name].suffixes, files, strict=True)
        }
        contents |= named
        golden[f"{name}-int8"] = engine_logits(load_measuring_engine(name, files), pictures)
        width = recipe.head.width(len(labels))
        artifacts.append(
            Artifact(
                format=name,
                scheme="int8",
                files=tuple(member_of(path, content) for path, content in named.items()),
                input=TensorSpec(name="pixels", shape=(1, size_px, size_px, 3), dtype="uint8"),
                output=TensorSpec(name="logits", shape=(1, width), dtype="float32"),
                reduced_range=constraints.reduced_range,
            )
        )
    if not artifacts:
        raise EdgetlError(f"{candidate.name} cannot be exported {'; '.join(failures)}")
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, inputs=np.stack(pictures), **golden)
    contents[_GOLDEN_FILE] = buffer.getvalue()
    write_bundle(
        out,
        Manifest(
            schema_version=SCHEMA_VERSION,
            labels=tuple(labels),
            preprocess=spec,
            artifacts=tuple(artifacts),
            golden=member_of(_GOLDEN_FILE, contents[_GOLDEN_FILE]),
            recipe=member_of(RECIPE_FILE, contents[RECIPE_FILE]),
            provenance=_provenance(candidate),
        ),
        contents,
    )
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
