"""Recipe + parts -> run folder: checkpoint, metrics, splits and the resolved recipe."""

import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from edgetl.backbones.build import Network
from edgetl.backbones.checkpoint import Checkpoint, load_checkpoint, save_facts
from edgetl.core.errors import EdgetlError
from edgetl.core.files import make_folder, write_text
from edgetl.core.progress import Progress
from edgetl.core.recipe import RECIPE_FILE, Recipe, spelt_out, with_epochs
from edgetl.core.reports import AccuracyReport, Twin
from edgetl.core.schema import from_yaml, read_document, to_json, to_yaml
from edgetl.data.folders import Unreadable
from edgetl.data.split import SPLITS_FILE, Parts, describe
from edgetl.finetune.compute import Compute
from edgetl.finetune.decisions import Decisions
from edgetl.finetune.held_out import Answered, judge
from edgetl.finetune.history import History, find_loggers
from edgetl.finetune.learning import Learning
from edgetl.finetune.loop import STATE_FILE, Trainer
from edgetl.finetune.picture_parts import PixelParts, decode_parts
from edgetl.finetune.pixels import PixelSet
from edgetl.finetune.run_warnings import below_its_probe, overfitted
from edgetl.finetune.scoring import evaluate_network
from edgetl.finetune.start import make_start


class Outcome(NamedTuple):
    """What a run ended with.

    `val` and `test` are None where there is no such part; `unreadable` pictures were set aside.

    Attributes:
        pace: how fast it trained and on what, in words; None: it took no step.
        warnings: what went wrong, in words.
    """

    run: Path
    checkpoint: Checkpoint
    val: AccuracyReport | None
    test: AccuracyReport | None
    unreadable: list[Unreadable]
    seconds: float = 0.0
    pace: str | None = None
    warnings: tuple[str, ...] = ()


def finetune(
    recipe: Recipe,
    parts: Parts,
    data: Path,
    out: Path,
    progress: Progress,
    *,
    resume: bool = False,
    loggers: tuple[str, ...] = (),
    device: str = "auto",
    twin: Twin | None = None,
) -> Outcome:
    """Fine-tune and write the run folder.

    Args:
        recipe: fully decided but for what the backbone's weights decide.
        parts: from `edgetl.data.split.make_parts`.
        data: the folder the parts come from, for `splits.json`.
        out: the run folder; made if missing.
        progress: told of everything that takes long.
        resume: continue from the last whole epoch of the same recipe in `out`.
        loggers: names of `edgetl.finetune.history.LOGGERS`.
        device: as in `edgetl.finetune.compute.choose_device`.
        twin: of a network that learns from every picture: the run that was measured in its place.

    Raises EdgetlError: unusable data or weights, a logger or device that is not there, diverging
    loss, unwritable folder.
    """
    begun = time.monotonic()
    compute = Compute(recipe, device)
    given, recipe = recipe, with_epochs(spelt_out(recipe), len(parts.train), gpu=compute.gpu)
    open_loggers = find_loggers(loggers)
    if resume:
        _require_same_recipe(out, recipe)
    start = make_start(recipe, len(parts.labels), progress)
    make_folder(out)  # what is wrong with the recipe or its weights leaves no empty folder
    recipe = msgspec.structs.replace(recipe, image_size_px=start.preprocess.size_px)
    pixels, kept, unreadable = decode_parts(parts, start.preprocess, recipe, progress)
    write_text(out / RECIPE_FILE, to_yaml(recipe))
    write_text(out / SPLITS_FILE, to_json(describe(kept, data, [u.path for u in unreadable])))
    decisions = Decisions(out, progress, resume=resume)
    _explain(given, recipe, pixels, compute, decisions)
    facts = Checkpoint(
        backbone=recipe.backbone,
        labels=parts.labels,
        preprocess=start.preprocess,
        weights=start.weights,
        training_images=len(pixels.train),
        val_top1=0.0,
        test_top1=None,
        sha256="",
        finished=False,
        head=recipe.head,
        twin=twin,
    )
    compute.place(start.network.model)
    trainer = Trainer(
        start.network, pixels.train, pixels.val, start.preprocess, recipe, compute, progress,
        decisions,
    )  # fmt: skip

    def score_test(network: Network) -> float | None:
        if not pixels.test:
            return None
        spec = start.preprocess
        return evaluate_network(network.model, pixels.test, spec, compute, exact=True).top1

    learning = Learning(trainer, facts, out, progress, score_test)
    opened = [open_logger(out, recipe, resume=resume) for open_logger in open_loggers]
    history = learning.run(opened, resume=resume)
    outcome = _measure(out, pixels, compute, unreadable)
    history.end(_scores(outcome))
    (out / STATE_FILE).unlink(missing_ok=True)
    return _closed(outcome, trainer, history, begun)


def _explain(
    given: Recipe,
    recipe: Recipe,
    pixels: PixelParts,
    compute: Compute,
    decisions: Decisions,
) -> None:
    """What was decided by the pictures before the network saw them."""
    count = len(pixels.train)
    if given.finetune.epochs == "auto":
        why = f"{count:,} training pictures on a {'GPU' if compute.gpu else 'CPU'}"
        decisions.add("epochs", str(recipe.finetune.epochs), why)
    whole_px, fine_px = pixels.train.whole.size_px, pixels.train.fine.size_px
    if fine_px != whole_px:
        decisions.add(
            "crops",
            f"from {fine_px} px",
            f"the pictures' own pixels, as many as crops need; the network sees {whole_px} px",
        )


def _closed(outcome: Outcome, trainer: Trainer, history: History, begun: float) -> Outcome:
    """The outcome with its time, its pace, and signs that something went wrong."""
    rate = trainer.pictures_per_second
    signs = (
        below_its_probe(outcome.test, outcome.checkpoint.probe_test_top1),
        overfitted(history.lines),
    )
    return outcome._replace(
        seconds=time.monotonic() - begun,
        pace=f"{rate:.0f} pictures/s on {trainer.compute.described}" if rate else None,
        warnings=tuple(sign for sign in signs if sign),
    )


def _measure(
    out: Path, pixels: PixelParts, compute: Compute, unreadable: list[Unreadable]
) -> Outcome:
    """Fit the temperature of the kept checkpoint and score it, in float32 like the artifacts."""
    network, facts = load_checkpoint(out)
    compute.place(network.model)

    def answer(pictures: PixelSet | None) -> Answered | None:
        if not pictures:
            return None
        scored = evaluate_network(network.model, pictures, facts.preprocess, compute, exact=True)
        return Answered(pictures.labels, scored.logits)

    judged = judge(answer(pixels.val), answer(pixels.test), facts)
    facts = msgspec.structs.replace(
        facts,
        val_top1=judged.val.top1 if judged.val else None,
        test_top1=judged.test.top1 if judged.test else None,
        temperature=judged.temperature,
        temperature_from=judged.temperature_from,
        finished=True,
    )
    save_facts(out, facts)
    return Outcome(out, facts, judged.val, judged.test, unreadable)


def _scores(outcome: Outcome) -> dict[str, float]:
    reports = {"val": outcome.val, "test": outcome.test}
    return {f"{part}_top1": report.top1 for part, report in reports.items() if report}


def _require_same_recipe(out: Path, recipe: Recipe) -> None:
    if not (out / RECIPE_FILE).is_file() or not (out / STATE_FILE).is_file():
        raise EdgetlError(
            f"'{out}' has nothing to resume.", hint="leave --resume away to start a new run."
        )
    require_begun_with(recipe, out)


def require_begun_with(recipe: Recipe, run: Path) -> None:
    """Raises EdgetlError where a run was begun with another recipe than this one."""
    path = run / RECIPE_FILE
    kept = from_yaml(read_document(path), Recipe, where=f"'{path}'")
    if kept != _decided_like(kept, recipe):
        raise EdgetlError(
            f"'{run}' was begun with another recipe.",
            hint=f"compare '{path}', or start a new run in another folder.",
        )


def _decided_like(kept: Recipe, recipe: Recipe) -> Recipe:
    """A recipe that leaves some things to the backbone and the pictures, as they were decided."""
    settings = recipe.finetune
    epochs = kept.finetune.epochs if settings.epochs == "auto" else settings.epochs
    return msgspec.structs.replace(
        recipe,
        image_size_px=recipe.image_size_px or kept.image_size_px,
        finetune=msgspec.structs.replace(settings, epochs=epochs),
    )
