"""Recipe + parts -> run folder: checkpoint, metrics, splits and the resolved recipe."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from edgetl.backbones.build import Network
from edgetl.backbones.checkpoint import Checkpoint, load_checkpoint, save_facts, save_tensors
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
from edgetl.finetune.loop import STATE_FILE, EpochMetrics, Trainer, evaluate_network
from edgetl.finetune.pixels import PixelSet, decode_all, training_spec
from edgetl.finetune.start import make_start

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
    if resume:
        _require_same_recipe(out, recipe)
    start = make_start(recipe, len(parts.labels), progress)
    make_folder(out)  # what is wrong with the recipe or its weights leaves no empty folder
    recipe = msgspec.structs.replace(recipe, image_size_px=start.preprocess.size_px)
    compute = Compute(recipe)
    train, val, test, unreadable, kept = _decode_parts(parts, start.preprocess, progress)
    write_text(out / RECIPE_FILE, to_yaml(recipe))
    bad = [item.path for item in unreadable]
    write_text(out / SPLITS_FILE, to_json(describe(kept, data, bad)))

    facts = Checkpoint(
        backbone=recipe.backbone,
        labels=parts.labels,
        preprocess=start.preprocess,
        weights=start.weights,
        training_images=len(train),
        val_top1=0.0,
        test_top1=None,
        sha256="",
        finished=False,
        head=recipe.head,
    )
    compute.place(start.network.model)
    trainer = Trainer(start.network, train, val, start.preprocess, recipe, compute)
    best = _BestCheckpoint(out, start.network, facts)
    _learn(trainer, best, out, progress, resume=resume)
    return _measure(out, val, test, compute, unreadable, begun)


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


class _BestCheckpoint:
    """Keeps the epoch with the best validation accuracy; of equals, the later one."""

    def __init__(self, out: Path, network: Network, facts: Checkpoint) -> None:
        self._out, self._network, self._facts = out, network, facts
        self.top1 = -1.0

    def restore(self, top1: float) -> None:
        """After a resume: trust the score only if the kept checkpoint is whole."""
        try:
            load_checkpoint(self._out)
        except EdgetlError:  # the interruption came between its two files
            return
        self.top1 = top1

    def offer(self, top1: float) -> None:
        """Save the network as it is if it is the best so far."""
        if top1 >= self.top1:
            self.top1 = top1
            sha256 = save_tensors(self._out, self._network)
            facts = msgspec.structs.replace(self._facts, val_top1=top1, sha256=sha256)
            save_facts(self._out, facts)


def _learn(
    trainer: Trainer, best: _BestCheckpoint, out: Path, progress: Progress, *, resume: bool
) -> None:
    if resume:
        best.restore(trainer.load_state(out / STATE_FILE))
    else:
        (out / METRICS_FILE).unlink(missing_ok=True)
        top1 = trainer.start_head(progress).top1
        progress.say(f"linear probe: val top-1 {top1:.1%}")
        best.offer(top1)
    begun = time.monotonic()
    for epoch, train_loss, rate in trainer.epochs(progress):
        scored = trainer.validate()
        best.offer(scored.top1)
        trainer.save_state(out / STATE_FILE, best.top1)
        metrics = EpochMetrics(
            epoch=epoch,
            train_loss=train_loss,
            val_loss=scored.loss,
            val_top1=scored.top1,
            rate=rate,
            seconds=time.monotonic() - begun,
        )
        with (out / METRICS_FILE).open("ab") as file:
            file.write(msgspec.json.encode(metrics) + b"\n")
        progress.say(
            f"epoch {epoch}: train loss {train_loss:.3f}, val top-1 {scored.top1:.1%}, "
            f"best {best.top1:.1%}"
        )


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
    compute.place(network.model)

    def score(pictures: PixelSet, part: str) -> AccuracyReport:
        result = evaluate_network(network.model, pictures, facts.preprocess, compute, exact=True)
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
