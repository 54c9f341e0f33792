"""Run folder -> `model.edgetl`, every artifact measured through its own engine."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edgetl.core.bundle import Bundle, member_of, write_bundle
from edgetl.core.console import native_chatter_dropped
from edgetl.core.errors import EdgetlError, GateMissedError
from edgetl.core.files import require_writable
from edgetl.core.manifest import (
    FORMATS,
    SCHEMA_VERSION,
    SCHEMES,
    Artifact,
    Format,
    Manifest,
    Scheme,
)
from edgetl.core.progress import Progress, Silent
from edgetl.core.recipe import RECIPE_FILE
from edgetl.core.reports import Blame
from edgetl.core.schema import read_document, unknown_choice_hint
from edgetl.pipeline.choosing import calibration_pixels, prepared, readable
from edgetl.pipeline.described import describe, golden, member_names, provenance
from edgetl.pipeline.engines import loaded
from edgetl.pipeline.installed import require_workshop
from edgetl.pipeline.models import torch_model
from edgetl.pipeline.opened import Job, open_job
from edgetl.pipeline.products import Product, Trial, checked_plan, make_float, make_int8
from edgetl.runtime.engine import Engine
from edgetl.verify.accuracy import Answers, Model, answer_all, one_by_one
from edgetl.verify.paired import contradictions

if TYPE_CHECKING:
    from edgetl.export.graph import DeployGraph
    from edgetl.quantize.ladder import Ladder

# What int8 may lose where the user names no budget, in points of top-1; beyond it costlier ways to
# int8 are tried, and nothing fails.
DEFAULT_BUDGET_PP = 0.5
# The part of a budget that a way to int8 may use up where it is tried: the rest is for chance.
TRIAL_SHARE = 0.5


def export(
    run: Path,
    out: Path,
    *,
    formats: Sequence[str] = FORMATS,
    schemes: Sequence[Scheme] = ("fp32", "int8"),
    calibration: Path | None = None,
    max_drop_pp: float | None = None,
    explain: bool = False,
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
        explain: find out what int8 costs each layer, and draw it beside the bundle
            (`chart_path`); so does an int8 artifact over the budget.

    Raises EdgetlError; GateMissedError where an artifact lost more than `max_drop_pp` or the
    artifacts contradict each other, after writing the bundle under another name.
    """
    progress = progress or Silent()
    wanted = [checked_format(name) for name in formats]
    require_writable(out)
    require_workshop("export")
    plan = checked_plan(wanted, schemes)
    job = open_job(run, calibration, progress)
    products, ladder = _make_all(job, plan, max_drop_pp)
    engines = {p.name: loaded(p.format, p.files) for p in products}
    answers = _ask_all(job, engines)
    samples = golden(engines, job.chosen.held_out.examples, job.facts.preprocess)
    recipe = read_document(run / RECIPE_FILE)
    contents = {"golden.npz": samples, RECIPE_FILE: recipe}
    for product in products:
        contents |= dict(zip(member_names(product), product.files, strict=True))
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        labels=job.facts.labels,
        preprocess=job.facts.preprocess,
        artifacts=tuple(describe(job, p, engines[p.name], answers) for p in products),
        golden=member_of("golden.npz", samples),
        recipe=member_of(RECIPE_FILE, recipe),
        provenance=provenance(job, any(p.rungs for p in products), answers),
        temperature=job.facts.temperature,
    )
    over = _over_budget(manifest, max_drop_pp)
    if ladder and (explain or any(artifact.rungs for artifact in over)):
        manifest = msgspec.structs.replace(manifest, blame=tuple(ladder.blame()))
        _draw(manifest.blame, out)
    missed = contradictions(answers, list(engines))
    if over:
        missed = [_overspent(manifest, over, max_drop_pp), *missed]
    return _write(out, manifest, contents, missed)


def _make_all(
    job: Job, plan: Sequence[tuple[Format, Scheme]], max_drop_pp: float | None
) -> tuple[list[Product], "Ladder | None"]:
    """Every artifact of the plan, in its order, and the ways to int8."""
    with native_chatter_dropped():
        from edgetl.export.graph import DeployGraph

    spec = job.facts.preprocess
    size = (spec.size_px, spec.size_px)
    graph = DeployGraph(job.network.model, mean=spec.mean, std=spec.std, size=size)
    floats = [entry for entry in plan if entry[1] != "int8"]
    products = []
    with job.progress.stage("exporting", len(floats), "artifacts") as shown:
        for name, scheme in floats:
            with native_chatter_dropped():
                products.append(make_float(graph, name, scheme))
            shown.advance(1, products[-1].name)
    whole = [name for name, scheme in plan if scheme == "int8"]
    ladder = None
    if whole:
        ladder, trial = _prepare_int8(job, graph, max_drop_pp)
        products += [make_int8(ladder, name, trial, job.progress) for name in whole]
    products.sort(key=lambda p: (FORMATS.index(p.format), SCHEMES.index(p.scheme)))
    return products, ladder


def _prepare_int8(
    job: Job, graph: "DeployGraph", max_drop_pp: float | None
) -> tuple["Ladder", Trial]:
    """The ways to int8, and what they are tried on."""
    with native_chatter_dropped():
        from edgetl.quantize.ladder import Ladder

    spec, chosen = job.facts.preprocess, job.chosen
    calibration = calibration_pixels(chosen, spec, job.progress)
    truth, pictures = readable(chosen.trial, spec)
    model = torch_model(job.network, spec)
    budget = DEFAULT_BUDGET_PP if max_drop_pp is None else max_drop_pp
    trial = Trial(
        pictures,
        truth if chosen.trial_labelled else None,
        np.concatenate([model(picture[np.newaxis]) for picture in pictures]),
        job.facts.temperature,
        max(0.0, budget * TRIAL_SHARE),
    )
    tuning = partial(prepared, chosen.tuning, spec)
    return Ladder(graph.with_whole_pixels(), calibration, tuning, job.progress), trial


def checked_format(name: str) -> Format:
    """Check a format typed by a user. Raises EdgetlError listing the formats."""
    for known in FORMATS:
        if name == known:
            return known
    raise EdgetlError(f"There is no format '{name}'.", hint=unknown_choice_hint(name, FORMATS))


def _ask_all(job: Job, engines: dict[str, Engine]) -> Answers:
    """The torch model and every artifact on the same held-out pictures."""
    spec = job.facts.preprocess
    models: dict[str, Model] = {"torch": torch_model(job.network, spec)}
    models |= {name: _batch_model(engine) for name, engine in engines.items()}
    examples = job.chosen.held_out.examples
    return answer_all(models, examples, spec, job.progress, stage="measuring")


def _batch_model(engine: Engine) -> Model:
    return one_by_one(lambda picture: engine(picture[np.newaxis])[0].copy())


def _over_budget(manifest: Manifest, max_drop_pp: float | None) -> list[Artifact]:
    """What lost more than it may."""
    if max_drop_pp is None:
        return []
    return [a for a in manifest.artifacts if a.measured and a.measured.loss_pp > max_drop_pp]


def _overspent(manifest: Manifest, over: Sequence[Artifact], max_drop_pp: float | None) -> str:
    """What lost more than it may, and what int8 costs most, in words."""
    judged = "agreement" if manifest.provenance.torch_top1 is None else "top-1"
    lost = ", ".join(f"{a.name} lost {a.measured.loss_pp:.2f}" for a in over if a.measured)
    text = f"Over the budget of {max_drop_pp} points of {judged}: {lost}."
    worst = ", ".join(f"{b.activation} ({b.snr_db:.0f} dB)" for b in manifest.blame[:3])
    return f"{text} Int8 costs most in {worst}." if worst else text


def chart_path(out: Path) -> Path:
    """Where what int8 costs each layer is drawn: `model.layers.png` beside `model.edgetl`."""
    return out.with_suffix(".layers.png")


def _draw(blame: Sequence[Blame], out: Path) -> None:
    from edgetl.quantize.blame_chart import draw_blame

    draw_blame(blame, chart_path(out))


def _write(
    out: Path, manifest: Manifest, contents: dict[str, bytes], missed: Sequence[str]
) -> Bundle:
    if not missed:
        write_bundle(out, manifest, contents)
        return Bundle(out)
    kept = out.with_name(f"{out.stem}.over-budget{out.suffix}")
    write_bundle(kept, manifest, contents)
    raise GateMissedError(
        " ".join(missed), hint=f"'{out}' was not written; what was made is in '{kept}'."
    )
