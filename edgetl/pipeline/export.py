"""Run folder -> `model.edgetl`, every artifact measured through its own engine."""

import io
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import edgetl
from edgetl.core.bundle import Bundle, member_of, write_bundle
from edgetl.core.errors import DataError, EdgetlError, GateMissedError
from edgetl.core.files import require_writable
from edgetl.core.manifest import (
    FORMATS,
    SCHEMA_VERSION,
    Artifact,
    EngineName,
    Format,
    Manifest,
    Measured,
    Provenance,
    Scheme,
    TensorSpec,
)
from edgetl.core.preprocess import Preprocess
from edgetl.core.progress import Progress, Silent
from edgetl.core.recipe import RECIPE_FILE
from edgetl.core.schema import read_document, unknown_choice_hint
from edgetl.data.calibration import pick_balanced
from edgetl.data.folders import Example
from edgetl.data.reading import read_pixels
from edgetl.data.split import SPLITS_FILE, SplitFiles, read_split
from edgetl.pipeline.choosing import HeldOut, calibration_pixels, choose_pictures
from edgetl.pipeline.installed import require_workshop, versions
from edgetl.pipeline.models import torch_model
from edgetl.pipeline.products import Product, make_products
from edgetl.runtime.classifier import checked_threads
from edgetl.runtime.engine import Engine, load_engine
from edgetl.runtime.preprocess import Pixels
from edgetl.verify.accuracy import Answers, Model, answer_all, one_by_one

if TYPE_CHECKING:
    from edgetl.backbones.build import Network
    from edgetl.backbones.checkpoint import Checkpoint

GOLDEN_SAMPLES = 8
# The engine each format is measured through on the workstation.
MEASURED_WITH: dict[Format, EngineName] = {
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "tflite": "litert",
}
_FILE_SUFFIXES: dict[Format, tuple[str, ...]] = {
    "onnx": ("onnx",),
    "openvino": ("xml", "bin"),
    "tflite": ("tflite",),
}


def export(
    run: Path,
    out: Path,
    *,
    formats: Sequence[str] = FORMATS,
    schemes: Sequence[Scheme] = ("fp32", "int8"),
    calibration: Path | None = None,
    max_drop_pp: float | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Export, quantize, measure, and write the bundle.

    Args:
        run: a fine-tuned run.
        out: the bundle to write.
        formats: any of "onnx", "openvino", "tflite".
        schemes: any of "fp32", "fp16", "int8"; a format that gains nothing from fp16 has none.
        calibration: a folder of pictures to choose int8 ranges by; else training pictures. A
            run that kept no labelled pictures back is measured on some of these.
        max_drop_pp: the most points of top-1 an artifact may lose against torch; without labels
            the largest share of pictures, in percent, that it may answer otherwise.

    Raises EdgetlError; GateMissedError where an artifact lost more than `max_drop_pp`, after
    writing the bundle under another name.
    """
    progress = progress or Silent()
    wanted = [checked_format(name) for name in formats]
    require_writable(out)
    require_workshop("export")
    from edgetl.backbones.checkpoint import load_checkpoint

    network, facts = load_checkpoint(run)
    recipe = read_document(run / RECIPE_FILE)
    split = read_split(run / SPLITS_FILE)
    held_out, candidates = choose_pictures(split, calibration)
    pictures: list[Pixels] = []
    if "int8" in schemes:
        source = str(calibration or split.root)
        pictures = calibration_pixels(facts.preprocess, candidates, source)
    products = make_products(network, facts.preprocess, wanted, schemes, pictures, progress)
    engines = {
        p.name: load_engine(MEASURED_WITH[p.format], p.files, threads=checked_threads(None))
        for p in products
    }
    answers = _ask_all(network, facts.preprocess, engines, held_out, progress)
    golden = _golden(engines, held_out.examples, facts.preprocess)
    contents = {"golden.npz": golden, RECIPE_FILE: recipe}
    for product in products:
        contents |= dict(zip(_member_names(product), product.files, strict=True))
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        labels=facts.labels,
        preprocess=facts.preprocess,
        artifacts=tuple(
            _describe(product, facts, _measured(product, engines[product.name], answers, held_out))
            for product in products
        ),
        golden=member_of("golden.npz", golden),
        recipe=member_of(RECIPE_FILE, recipe),
        provenance=_provenance(
            split, facts, len(pictures), answers.top1("torch") if held_out.labelled else None
        ),
        temperature=facts.temperature,
    )
    return _write_within_budget(out, manifest, contents, max_drop_pp)


def checked_format(name: str) -> Format:
    """Check a format typed by a user. Raises EdgetlError listing the formats."""
    for known in FORMATS:
        if name == known:
            return known
    raise EdgetlError(f"There is no format '{name}'.", hint=unknown_choice_hint(name, FORMATS))


def _ask_all(
    network: "Network",
    spec: Preprocess,
    engines: dict[str, Engine],
    held_out: HeldOut,
    progress: Progress,
) -> Answers:
    """The torch model and every artifact on the same held-out pictures."""
    models: dict[str, Model] = {"torch": torch_model(network, spec)}
    models |= {name: _batch_model(engine) for name, engine in engines.items()}
    return answer_all(models, held_out.examples, spec, progress, stage="measuring")


def _batch_model(engine: Engine) -> Model:
    return one_by_one(lambda picture: engine(picture[np.newaxis])[0].copy())


def _measured(product: Product, engine: Engine, answers: Answers, held_out: HeldOut) -> Measured:
    top1 = answers.top1(product.name)
    drop_pp = round(100 * (answers.top1("torch") - top1), 4)
    return Measured(
        engine=f"{MEASURED_WITH[product.format]} {engine.version}",
        images=len(answers.truth),
        part=held_out.part,
        top1=top1 if held_out.labelled else None,
        drop_pp=drop_pp if held_out.labelled else None,
        agreement=answers.agreement(product.name, "torch"),
    )


def _member_names(product: Product) -> list[str]:
    return [f"artifacts/{product.name}.{suffix}" for suffix in _FILE_SUFFIXES[product.format]]


def _describe(product: Product, facts: "Checkpoint", measured: Measured) -> Artifact:
    size, width = facts.preprocess.size_px, facts.head.width(len(facts.labels))
    names = _member_names(product)
    return Artifact(
        format=product.format,
        scheme=product.scheme,
        files=tuple(member_of(n, f) for n, f in zip(names, product.files, strict=True)),
        input=TensorSpec(name="pixels", shape=(1, size, size, 3), dtype="uint8"),
        output=TensorSpec(name="logits", shape=(1, width), dtype="float32"),
        measured=measured,
    )


def _golden(engines: dict[str, Engine], examples: Sequence[Example], spec: Preprocess) -> bytes:
    """`golden.npz`: a few held-out pictures, and every artifact's logits for them."""
    read = read_pixels(pick_balanced(examples, 2 * GOLDEN_SAMPLES, seed=0), spec)
    pixels = [p for _, p in read if not isinstance(p, DataError)][:GOLDEN_SAMPLES]
    inputs = np.stack(pixels)
    arrays = {name: _batch_model(engine)(inputs) for name, engine in engines.items()}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, inputs=inputs, **arrays)
    return buffer.getvalue()


def _provenance(
    split: SplitFiles, facts: "Checkpoint", calibration_images: int, torch_top1: float | None
) -> Provenance:
    return Provenance(
        edgetl=edgetl.__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        backbone=facts.backbone,
        weights=facts.weights,
        data=Path(split.root).name,
        training_images=facts.training_images,
        calibration_images=calibration_images,
        versions=versions(),
        torch_top1=torch_top1,
    )


def _write_within_budget(
    out: Path, manifest: Manifest, contents: dict[str, bytes], max_drop_pp: float | None
) -> Bundle:
    over = [
        f"{a.name} lost {a.measured.loss_pp:.2f}"
        for a in manifest.artifacts
        if max_drop_pp is not None and a.measured and a.measured.loss_pp > max_drop_pp
    ]
    judged = "agreement" if manifest.provenance.torch_top1 is None else "top-1"
    if not over:
        write_bundle(out, manifest, contents)
        return Bundle(out)
    kept = out.with_name(f"{out.stem}.over-budget{out.suffix}")
    write_bundle(kept, manifest, contents)
    raise GateMissedError(
        f"Over the budget of {max_drop_pp} points of {judged}: {', '.join(over)}.",
        hint=f"'{out}' was not written; what was made is in '{kept}'.",
    )
