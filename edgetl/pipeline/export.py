"""Run folder -> `model.edgetl`, every artifact measured through its own engine."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgetl.bench.budgets import NO_BUDGETS, Budgets
from edgetl.core.bundle import Bundle, member_of, write_bundle
from edgetl.core.device import DeviceProfile
from edgetl.core.errors import EdgetlError, GateMissedError
from edgetl.core.files import require_writable
from edgetl.core.manifest import (
    FORMATS,
    SCHEMA_VERSION,
    Artifact,
    Format,
    Manifest,
    Scheme,
    Target,
)
from edgetl.core.progress import Progress, Silent
from edgetl.core.recipe import RECIPE_FILE
from edgetl.core.reports import Blame
from edgetl.core.schema import read_document, unknown_choice_hint
from edgetl.pipeline import budgets as limits
from edgetl.pipeline.asked import ask_all, kept_of
from edgetl.pipeline.calibrated import torch_calibration
from edgetl.pipeline.described import describe, golden, member_names, provenance
from edgetl.pipeline.engines import loaded
from edgetl.pipeline.installed import require_workshop
from edgetl.pipeline.opened import open_job
from edgetl.pipeline.products import Maker, checked_plan
from edgetl.quantize.needs import NO_NEEDS, Needs
from edgetl.runtime.processor import adds_int8_in_16_bits
from edgetl.verify.paired import contradictions

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
    budgets: Budgets = NO_BUDGETS,
    explain: bool = False,
    target: DeviceProfile | None = None,
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
        budgets: what it may take (`edgetl.pipeline.budgets`).
        explain: find out what int8 costs each layer, and draw it beside the bundle
            (`chart_path`); so does an int8 artifact over the budget.
        target: the device the bundle is for: its engines are tried in that order there, and int8 is
            what its kernels need (`edgetl.quantize.needs`). What this machine's need is there, too,
            or what is measured here would be wrong.

    Raises EdgetlError; GateMissedError where an artifact lost more than `max_drop_pp`, takes more
    than its budget, or the artifacts contradict each other, after writing the bundle under another
    name.
    """
    progress = progress or Silent()
    wanted = sorted(map(checked_format, formats), key=FORMATS.index)
    require_writable(out)
    limits.require_measurable(budgets, target)
    require_workshop("export")
    plan = checked_plan(wanted, schemes)
    job = open_job(run, calibration, progress)
    needs = _needs_of(target, "openvino" in wanted and "int8" in schemes, progress)
    kept = kept_of(job, needs)
    maker = Maker(job, kept, needs)
    budget = DEFAULT_BUDGET_PP if max_drop_pp is None else max_drop_pp
    products = maker.make(plan, max(0.0, budget * TRIAL_SHARE))
    engines = {p.name: loaded(p.format, p.files) for p in products}
    answers = ask_all(job, kept, products, engines)
    samples = golden(engines, job.chosen.held_out.examples, job.facts.preprocess)
    recipe = read_document(run / RECIPE_FILE)
    contents = {"golden.npz": samples, RECIPE_FILE: recipe}
    for product in products:
        contents |= dict(zip(member_names(product), product.files, strict=True))
    torch = torch_calibration(job, answers)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        labels=job.facts.labels,
        preprocess=job.facts.preprocess,
        artifacts=tuple(describe(job, p, engines[p.name], answers, maker, torch) for p in products),
        golden=member_of("golden.npz", samples),
        recipe=member_of(RECIPE_FILE, recipe),
        provenance=provenance(job, any(p.rungs for p in products), answers),
        temperature=job.facts.temperature,
        temperature_from=job.facts.temperature_from,
        target=_target_of(target) if target else None,
    )
    over = _over_budget(manifest, max_drop_pp)
    whole = any(product.rungs for product in products)
    if whole and (explain or any(artifact.rungs for artifact in over)):
        manifest = msgspec.structs.replace(manifest, blame=maker.blame())
        _draw(manifest.blame, out)
    missed = contradictions(answers, list(engines))
    if over:
        missed = [_overspent(manifest, over, max_drop_pp), *missed]
    return _write(out, manifest, contents, missed, budgets)


def checked_format(name: str) -> Format:
    """Check a format typed by a user. Raises EdgetlError listing the formats."""
    for known in FORMATS:
        if name == known:
            return known
    raise EdgetlError(f"There is no format '{name}'.", hint=unknown_choice_hint(name, FORMATS))


def _needs_of(device: DeviceProfile | None, openvino_int8: bool, progress: Progress) -> Needs:
    """What int8 kernels need on the device, and for OpenVINO's int8 also where it is measured."""
    needs = NO_NEEDS
    if device:
        needs = Needs(device.symmetric_activations, device.reduced_range_weights)
    if openvino_int8 and adds_int8_in_16_bits() and not needs.reduced_range:
        progress.say("no VNNI here: int8 weights have 7 bits, or OpenVINO's could not be measured")
        needs = needs._replace(reduced_range=True)
    return needs


def _target_of(device: DeviceProfile) -> Target:
    return Target(
        device=device.name, isa=device.isa, engines=device.engines, threads=device.threads
    )


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
    out: Path,
    manifest: Manifest,
    contents: dict[str, bytes],
    missed: Sequence[str],
    budgets: Budgets,
) -> Bundle:
    """Write the bundle, under another name unless it misses nothing."""
    if not missed and budgets == NO_BUDGETS:
        write_bundle(out, manifest, contents)
        return Bundle(out)
    kept = out.with_name(f"{out.stem}.over-budget{out.suffix}")
    write_bundle(kept, manifest, contents)
    missed = [*missed, *limits.misses(Bundle(kept), budgets)]
    if not missed:
        kept.replace(out)
        return Bundle(out)
    raise GateMissedError(
        " ".join(missed), hint=f"'{out}' was not written; what was made is in '{kept}'."
    )
