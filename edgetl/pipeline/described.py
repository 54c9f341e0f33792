"""What a bundle says of itself: artifacts with what they scored, samples, and where it is from."""

import io
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import numpy as np

import edgetl
from edgetl.core.bundle import member_of
from edgetl.core.calibration import Calibration, expected_calibration_error
from edgetl.core.manifest import Artifact, Format, Measured, Provenance, TensorSpec
from edgetl.core.metrics import expected_drop
from edgetl.core.preprocess import Preprocess
from edgetl.data.calibration import pick_balanced
from edgetl.data.folders import Example
from edgetl.pipeline.asked import TORCH
from edgetl.pipeline.calibrated import artifact_calibration
from edgetl.pipeline.choosing import CALIBRATION_SEED, prepared
from edgetl.pipeline.engines import MEASURED_WITH, asked
from edgetl.pipeline.installed import versions
from edgetl.pipeline.opened import Job
from edgetl.pipeline.products import Maker, Product
from edgetl.runtime.engine import Engine
from edgetl.verify.accuracy import Answers
from edgetl.verify.paired import count_flips, worst_class

GOLDEN_SAMPLES = 8
_FILE_SUFFIXES: dict[Format, tuple[str, ...]] = {
    "onnx": ("onnx",),
    "openvino": ("xml", "bin"),
    "tflite": ("tflite",),
}


def member_names(product: Product) -> list[str]:
    """What its files are called inside the bundle."""
    return [f"artifacts/{product.name}.{suffix}" for suffix in _FILE_SUFFIXES[product.format]]


def describe(
    job: Job,
    product: Product,
    engine: Engine,
    answers: Answers,
    maker: Maker,
    torch: Calibration,
) -> Artifact:
    """An artifact with what it scored on the held-out pictures, and what of it is int8.

    `torch` is the float network's calibration (`edgetl.pipeline.calibrated`).
    """
    facts = job.facts
    size, width = facts.preprocess.size_px, facts.head.width(len(facts.labels))
    names = member_names(product)
    kernels = maker.kernels(product) if product.rungs else None
    own = artifact_calibration(product, answers, torch)
    return Artifact(
        format=product.format,
        scheme=product.scheme,
        files=tuple(member_of(n, f) for n, f in zip(names, product.files, strict=True)),
        input=TensorSpec(name="pixels", shape=(1, size, size, 3), dtype="uint8"),
        output=TensorSpec(name="logits", shape=(1, width), dtype="float32"),
        measured=_measured(job, product, engine, answers, torch, own),
        temperature=own.temperature if product.rungs and own.source not in (None, "twin") else None,
        rungs=product.rungs,
        float_operators=kernels.float_operators if kernels else {},
        int8_macs=kernels.int8_macs if kernels else None,
        reduced_range=bool(product.rungs) and maker.needs.reduced_range,
    )


def _measured(
    job: Job,
    product: Product,
    engine: Engine,
    answers: Answers,
    torch: Calibration,
    own: Calibration,
) -> Measured:
    logits, reference = answers.logits[product.name], answers.logits[TORCH]
    expected = expected_drop(logits, reference, job.facts.temperature)
    shared = Measured(
        engine=f"{MEASURED_WITH[product.format]} {engine.version}",
        images=len(answers.truth),
        part=job.chosen.held_out.part,
        top1=None,
        drop_pp=None,
        agreement=answers.agreement(product.name, "torch"),
        expected_drop_pp=round(100 * float(expected.mean()), 4),
    )
    if not job.chosen.held_out.labelled:
        return shared
    truth, was, now = answers.truth, answers.predicted("torch"), answers.predicted(product.name)
    flips = count_flips(truth, was, now)
    return msgspec.structs.replace(
        shared,
        top1=answers.top1(product.name),
        drop_pp=round(100 * (flips.lost - flips.won) / len(truth), 4),
        drop_interval_pp=flips.interval_pp,
        lost=flips.lost,
        won=flips.won,
        worst_class=worst_class(truth, was, now, job.facts.labels),
        torch_ece=expected_calibration_error(truth, reference, torch.per_picture),
        ece=expected_calibration_error(truth, logits, own.per_picture),
        temperature_from=own.source,
    )


def golden(engines: dict[str, Engine], examples: Sequence[Example], spec: Preprocess) -> bytes:
    """`golden.npz`: a few held-out pictures, and every artifact's logits for them."""
    pixels = prepared(pick_balanced(examples, 2 * GOLDEN_SAMPLES, seed=0), spec)[:GOLDEN_SAMPLES]
    arrays = {name: asked(engine, pixels) for name, engine in engines.items()}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, inputs=np.stack(pixels), **arrays)
    return buffer.getvalue()


def provenance(job: Job, calibrated: bool, answers: Answers) -> Provenance:
    """Where the model is from; the calibration pictures are listed where any were used."""
    names = job.chosen.calibration_names() if calibrated else ()
    return Provenance(
        edgetl=edgetl.__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        backbone=job.facts.backbone,
        weights=job.facts.weights,
        data=Path(job.split.root).name,
        training_images=job.facts.training_images,
        calibration_images=len(names),
        versions=versions(),
        torch_top1=answers.top1("torch") if job.chosen.held_out.labelled else None,
        calibration=names,
        calibration_seed=CALIBRATION_SEED,
        twin=job.facts.twin,
    )
