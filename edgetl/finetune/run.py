"""Recipe + parts -> run folder: checkpoint, metrics, splits and the resolved recipe."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch

from edgetl.backbones.build import Network, build_network
from edgetl.backbones.catalogue import find_backbone
from edgetl.backbones.checkpoint import Checkpoint, load_checkpoint, save_facts, save_tensors
from edgetl.backbones.weights import find_weights, fit_weights, read_state_dict
from edgetl.core.errors import DataError, EdgetlError
from edgetl.core.files import make_folder, write_text
from edgetl.core.metrics import accuracy_report
from edgetl.core.preprocess import Preprocess
from edgetl.core.progress import Progress
from edgetl.core.recipe import Recipe
from edgetl.core.reports import AccuracyReport
from edgetl.core.schema import from_yaml, read_document, to_json, to_yaml
from edgetl.data.folders import Example, Unreadable
from edgetl.data.split import SPLITS_FILE, Parts, describe
from edgetl.finetune.compute import Compute
from edgetl.finetune.depthwise import speed_up_depthwise
from edgetl.finetune.loop import (
    STATE_FILE,
    EpochMetrics,
    Trainer,
    class_weights,
    evaluate_network,
)
from edgetl.finetune.pixels import PixelSet, decode_all, training_spec
from edgetl.finetune.probe import adapt_norms, fit_probe

RECIPE_FILE = "recipe.yaml"
METRICS_FILE = "metrics.jsonl"


class Outcome(NamedTuple):
    """What a run ended with.

    `test` is None where the data has no test part; `unreadable` pictures were set aside.
    """

    run: Path
    checkpoint: Checkpoint
    val: AccuracyReport
    test: AccuracyReport | None
    unreadable: list[Unreadable]
    seconds: float


class _Start(NamedTuple):
    network: Network
    spec: Preprocess
    weights: str


def finetune(
    recipe: Recipe, parts: Parts, data: Path, out: Path, progress: Progress, *, resume: bool = False
) -> Outcome:
    """Fine-tune and write the run folder.

    Args:
        recipe: fully decided but for what the backbone's weights decide.
        parts: from `edgetl.data.split.make_parts`.
        data: the folder the parts come from, for `splits.json`.
        out: the run folder; made if missing.
        resume: continue from the last whole epoch of the same recipe in `out`.

    Raises EdgetlError: unusable data or weights, diverging loss, unwritable folder.
    """
    begun = time.monotonic()
    make_folder(out)
    if resume:
        _require_same_recipe(out, recipe)
    start = _start(recipe, len(parts.labels), progress)
    recipe = msgspec.structs.replace(recipe, image_size_px=start.spec.size_px)
    compute = Compute(recipe)
    train, val, test, unreadable, kept = _decode_parts(parts, start.spec, progress)
    write_text(out / RECIPE_FILE, to_yaml(recipe))
    bad = [item.path for item in unreadable]
    write_text(out / SPLITS_FILE, to_json(describe(kept, data, bad)))

    facts = Checkpoint(
        backbone=recipe.backbone,
        labels=parts.labels,
        preprocess=start.spec,
        weights=start.weights,
        training_images=len(train),
        val_top1=0.0,
        test_top1=None,
        sha256="",
        finished=False,
    )
    _learn(recipe, start, train, val, compute, facts, out, progress, resume)
    return _measure(out, val, test, compute, unreadable, begun)


def _start(recipe: Recipe, classes: int, progress: Progress) -> _Start:
    """The network with the weights the recipe names, and the preprocessing they were made for."""
    backbone = find_backbone(recipe.backbone)
    torch.manual_seed(recipe.seed)
    network = build_network(backbone, classes)
    source = backbone.sources[0]
    described = "none"
    if recipe.weights == "imagenet":
        found = find_weights(backbone, progress)
        source = found.source
        described = f"imagenet ({source.file}; {source.licence})"
        fit_weights(
            network.model,
            read_state_dict(found.path),
            what=source.file,
            except_head=backbone.head,
            by_order=source.paired_by_order,
        )
    elif recipe.weights != "none":
        path = Path(recipe.weights)
        described = path.name
        by_order = any(s.paired_by_order and s.file == path.name for s in backbone.sources)
        fit_weights(
            network.model,
            read_state_dict(path),
            what=str(path),
            except_head=backbone.head,
            by_order=by_order,
        )
    spec = Preprocess(
        size_px=recipe.image_size_px or backbone.size_px, mean=source.mean, std=source.std
    )
    return _Start(network, spec, described)


def _decode_parts(
    parts: Parts, spec: Preprocess, progress: Progress
) -> tuple[PixelSet, PixelSet, PixelSet | None, list[Unreadable], Parts]:
    wide = training_spec(spec)
    train, train_kept, bad = decode_all(parts.train, wide, progress, stage="decoding train")
    val, val_kept, bad_val = decode_all(parts.val, spec, progress, stage="decoding val")
    test, test_kept, bad_test = None, list[Example](), list[Unreadable]()
    if parts.test:
        test, test_kept, bad_test = decode_all(parts.test, spec, progress, stage="decoding test")
    _require_classes(parts.labels, train_kept)
    kept = Parts(parts.labels, train_kept, val_kept, test_kept)
    return train, val, test, [*bad, *bad_val, *bad_test], kept


def _require_classes(labels: Sequence[str], kept: Sequence[Example]) -> None:
    found = {example.label for example in kept}
    for index, label in enumerate(labels):
        if index not in found:
            raise DataError(f"No training picture of class '{label}' can be read.")


def _learn(
    recipe: Recipe,
    start: _Start,
    train: PixelSet,
    val: PixelSet,
    compute: Compute,
    facts: Checkpoint,
    out: Path,
    progress: Progress,
    resume: bool,
) -> None:
    network, spec = start.network, start.spec
    network.model.to(compute.device, memory_format=torch.channels_last)
    if compute.device.type == "cpu":
        speed_up_depthwise(network.model)
    trainer = Trainer(network, train, val, spec, recipe, compute)
    best = -1.0

    def keep_if_best(top1: float) -> None:
        nonlocal best
        if top1 > best:
            best = top1
            sha256 = save_tensors(out, network.model)
            save_facts(out, msgspec.structs.replace(facts, val_top1=top1, sha256=sha256))

    if resume:
        best = float(trainer.load_state(out / STATE_FILE)["val_top1"])
    else:
        (out / METRICS_FILE).unlink(missing_ok=True)
        if recipe.finetune.epochs:
            trainer.train_mode()
            batch, seed = recipe.finetune.batch, recipe.seed
            adapt_norms(network, train, spec, compute, batch=batch, seed=seed)
        if recipe.probe.enabled:
            weights = class_weights(train.labels, len(facts.labels), recipe.finetune.class_weights)
            fit_probe(network, train, spec, recipe.probe, weights, compute, progress)
        probed = evaluate_network(network.model, val, spec, compute, exact=False)
        progress.say(f"linear probe: val top-1 {probed.top1:.1%}")
        keep_if_best(probed.top1)
    begun = time.monotonic()
    for epoch, train_loss, rate in trainer.epochs(progress):
        scored = evaluate_network(network.model, val, spec, compute, exact=False)
        keep_if_best(scored.top1)
        trainer.save_state(out / STATE_FILE, {"val_top1": best})
        _log(
            out,
            EpochMetrics(
                epoch=epoch,
                train_loss=train_loss,
                val_loss=scored.loss,
                val_top1=scored.top1,
                rate=rate,
                seconds=time.monotonic() - begun,
            ),
        )
        progress.say(
            f"epoch {epoch}: train loss {train_loss:.3f}, val top-1 {scored.top1:.1%}, "
            f"best {best:.1%}"
        )


def _log(out: Path, metrics: EpochMetrics) -> None:
    with (out / METRICS_FILE).open("ab") as file:
        file.write(msgspec.json.encode(metrics) + b"\n")


def _measure(
    out: Path,
    val: PixelSet,
    test: PixelSet | None,
    compute: Compute,
    unreadable: list[Unreadable],
    begun: float,
) -> Outcome:
    """Score the kept checkpoint in float32, the precision the float artifacts have."""
    network, facts = load_checkpoint(out)
    network.model.to(compute.device, memory_format=torch.channels_last)

    def score(pictures: PixelSet, part: str) -> AccuracyReport:
        result = evaluate_network(
            network.model, pictures, facts.preprocess, compute, exact=True
        )
        return accuracy_report(
            pictures.labels, result.predicted, facts.labels, subject=f"torch float32, {part}"
        )

    val_report = score(val, "val")
    test_report = score(test, "test") if test else None
    facts = msgspec.structs.replace(
        facts,
        val_top1=val_report.top1,
        test_top1=test_report.top1 if test_report else None,
        finished=True,
    )
    save_facts(out, facts)
    (out / STATE_FILE).unlink(missing_ok=True)
    return Outcome(out, facts, val_report, test_report, unreadable, time.monotonic() - begun)


def _require_same_recipe(out: Path, recipe: Recipe) -> None:
    path = out / RECIPE_FILE
    if not path.is_file() or not (out / STATE_FILE).is_file():
        raise EdgetlError(
            f"'{out}' has nothing to resume.", hint="leave --resume away to start a new run."
        )
    kept = from_yaml(read_document(path), Recipe, where=f"'{path}'")
    size_px = recipe.image_size_px or kept.image_size_px
    if kept != msgspec.structs.replace(recipe, image_size_px=size_px):
        raise EdgetlError(
            f"'{out}' was begun with another recipe.",
            hint=f"compare '{path}', or start a new run in another folder.",
        )
