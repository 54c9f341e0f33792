"""Train by a recipe and write the run folder: checkpoint, metrics, splits, resolved recipe."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from edgetl.bundle.reports import AccuracyReport, Twin
from edgetl.core.errors import EdgetlError
from edgetl.core.files import make_folder, write_text
from edgetl.core.progress import Progress
from edgetl.core.schema import to_json, to_yaml
from edgetl.data.folders import Unreadable
from edgetl.data.split import SPLITS_FILE, Parts, SplitFiles, describe
from edgetl.workstation.backbones.build import Network
from edgetl.workstation.backbones.checkpoint import Checkpoint, save_facts
from edgetl.workstation.recipe import (
    RECIPE_FILE,
    Augment,
    Recipe,
    with_epochs,
    with_preset_values,
)
from edgetl.workstation.run_folder import STATE_FILE, require_begun_with
from edgetl.workstation.training.adaptation.record import AdaptationReport
from edgetl.workstation.training.checkpointing import CheckpointedTraining
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.decisions import Decisions
from edgetl.workstation.training.decoded_parts import PixelParts, decode_parts
from edgetl.workstation.training.distributed.agreement import (
    picture_facts,
    require_same_everywhere,
)
from edgetl.workstation.training.distributed.checkpoint import load_everywhere
from edgetl.workstation.training.distributed.ranks import ALONE, Ranks
from edgetl.workstation.training.held_out import HeldOutLogits, judge
from edgetl.workstation.training.history import History, Listener, find_loggers
from edgetl.workstation.training.initial_network import make_initial_network
from edgetl.workstation.training.pixel_cache import PixelSet
from edgetl.workstation.training.preparation import prepare, with_flip
from edgetl.workstation.training.resume import ResumeState, read_state
from edgetl.workstation.training.run_warnings import (
    above_its_teacher,
    below_its_probe,
    overfitted,
)
from edgetl.workstation.training.scoring import evaluate_network
from edgetl.workstation.training.setup import TrainingSetup
from edgetl.workstation.training.teaching.request import NO_TEACHING, Teaching
from edgetl.workstation.training.teaching.taught import with_teacher
from edgetl.workstation.training.teaching.teacher import find_teacher
from edgetl.workstation.training.trainer import Trainer


class Outcome(NamedTuple):
    """The result of a run.

    `val` and `test` are None if there is no such part; `unreadable` pictures were left out.

    Attributes:
        pace: training speed and device, in words; None if the run took no step.
        warnings: what went wrong, in words.
        adaptation: the candidates of a run that was adapted to another place; None otherwise.
    """

    run: Path
    checkpoint: Checkpoint
    val: AccuracyReport | None
    test: AccuracyReport | None
    unreadable: list[Unreadable]
    seconds: float = 0.0
    pace: str | None = None
    warnings: tuple[str, ...] = ()
    adaptation: AdaptationReport | None = None


def train_run(
    recipe: Recipe,
    parts: Parts,
    data: Path,
    out: Path,
    progress: Progress,
    *,
    resume: bool = False,
    loggers: tuple[str, ...] = (),
    listeners: Sequence[Listener] = (),
    device: str = "auto",
    twin: Twin | None = None,
    teaching: Teaching = NO_TEACHING,
    adapts: bool = False,
    ranks: Ranks = ALONE,
) -> Outcome:
    """Fine-tune a network and write the run folder.

    Args:
        recipe: "auto" epochs, a missing picture size and "auto" mirror images are decided here.
        parts: from `edgetl.data.split.make_parts`.
        data: the folder of the parts' pictures, for `splits.json`.
        out: the run folder; made if missing.
        progress: where to show how far it is.
        resume: continue from the last whole epoch of the same recipe in `out`.
        loggers: names of `edgetl.workstation.training.history.LOGGERS`.
        listeners: get every epoch's metrics, too.
        device: as in `edgetl.workstation.training.compute.choose_device`.
        twin: for a refit on every picture: the scores of the run that was measured instead.
        teaching: the teacher; the pictures without labels are in `parts`.
        adapts: whether the pictures without labels are of another place, to which the network is
            adapted as the recipe's section `adapt` says.
        ranks: the processes that train together, of which the first writes the run folder.

    Raises EdgetlError: unusable data, weights or teacher, an unavailable logger or device, a
    diverging loss, an unwritable folder.
    """
    began = time.monotonic()
    compute = Compute(recipe, device, ranks)
    kept, given = out if ranks.first else None, recipe
    recipe = with_epochs(with_preset_values(recipe), _pictures(parts), gpu=compute.gpu)
    open_loggers = find_loggers(loggers) if ranks.first else []
    if resume and kept:
        _require_same_recipe(kept, recipe)
    teacher = find_teacher(teaching, parts, progress, begun=out if resume else None)
    start = ranks.one_first(lambda: make_initial_network(recipe, len(parts.labels), progress))
    if kept:
        make_folder(out)  # after the checks of recipe and weights: no empty folder is left
    recipe = msgspec.structs.replace(recipe, image_size_px=start.preprocess.size_px)
    pixels, readable, unreadable = decode_parts(
        parts, start.preprocess, recipe, progress, ranks,
        teacher_px=teacher.spec.size_px if teacher else 0,
    )  # fmt: skip
    require_same_everywhere(picture_facts(readable, data), ranks)
    if kept:
        _write_begin(kept, recipe, describe(readable, data, [u.path for u in unreadable]))
    decisions = _decided(given, recipe, pixels, compute, Decisions(kept, progress, resume=resume))
    compute.place_for_training(start.network.model)
    setup = TrainingSetup(
        start.network, pixels.train, pixels.val, start.preprocess, recipe, compute, progress,
        decisions, adapting=pixels.adapting if adapts else None,
    )  # fmt: skip
    setup = with_teacher(setup, teacher, readable, pixels.everything) if teacher else setup
    state = read_state(out / STATE_FILE, compute.device, ranks) if resume else None
    trainer = Trainer(setup, _prepared(setup, state), state)
    training = CheckpointedTraining(
        trainer, _new_checkpoint(setup, start.weights, parts.labels, twin), kept,
        _test_scorer(pixels.test, setup),
    )  # fmt: skip
    opened = (open_logger(out, recipe, resume=resume) for open_logger in open_loggers)
    history = training.run([*opened, *listeners], state)
    outcome = measure(out, pixels, compute, unreadable)
    history.end(_scores(outcome))
    if kept:
        (kept / STATE_FILE).unlink(missing_ok=True)
    return _completed(outcome, trainer, history, began)


def _write_begin(out: Path, recipe: Recipe, split: SplitFiles) -> None:
    """Write what a run folder has from the start: the resolved recipe and the split."""
    write_text(out / RECIPE_FILE, to_yaml(recipe))
    write_text(out / SPLITS_FILE, to_json(split))


def _prepared(setup: TrainingSetup, state: ResumeState | None) -> Augment:
    """Prepare the network unless a state is resumed; returns the augmentation to train with.

    All processes go on with the first one's network and mirror images.
    """
    recipe, ranks = setup.recipe, setup.compute.ranks
    augment = with_flip(recipe.augmentation, state.flip) if state else prepare(setup)
    ranks.take_first(list(setup.network.model.state_dict().values()))
    return with_flip(augment, ranks.from_first(augment.flip))


def _new_checkpoint(
    setup: TrainingSetup, weights: str, labels: tuple[str, ...], twin: Twin | None
) -> Checkpoint:
    """The description of the network, to be saved before it is scored."""
    return Checkpoint(
        backbone=setup.recipe.backbone,
        labels=labels,
        preprocess=setup.spec,
        weights=weights,
        training_images=len(setup.train),
        val_top1=0.0,
        test_top1=None,
        sha256="",
        finished=False,
        head=setup.recipe.head,
        twin=twin,
        teacher=setup.taught.facts if setup.taught else None,
    )


def _pictures(parts: Parts) -> int:
    """How many pictures are trained on, with and without labels."""
    return len(parts.train) + sum(len(each.pictures) for each in parts.unlabelled)


def _test_scorer(test: PixelSet | None, setup: TrainingSetup) -> Callable[[Network], float | None]:
    """A function that returns a network's test top-1, 0 to 1; None if there is no test part."""

    def score(network: Network) -> float | None:
        if not test:
            return None
        return evaluate_network(network.model, test, setup.spec, setup.compute, exact=True).top1

    return score


def _decided(
    given: Recipe,
    recipe: Recipe,
    pixels: PixelParts,
    compute: Compute,
    decisions: Decisions,
) -> Decisions:
    """Record what the pictures decide before training: the epochs and the crops' source size.

    Returns the record.
    """
    count = len(pixels.everything)
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
    return decisions


def _completed(outcome: Outcome, trainer: Trainer, history: History, began: float) -> Outcome:
    """The outcome with its duration, training speed and warnings."""
    rate = trainer.pictures_per_second
    teacher = outcome.checkpoint.teacher
    warnings_or_none = (
        below_its_probe(outcome.test, outcome.checkpoint.probe_test_top1),
        above_its_teacher(outcome.test, teacher.top1 if teacher else None),
        overfitted(history.lines),
    )
    return outcome._replace(
        seconds=time.monotonic() - began,
        pace=f"{rate:.0f} pictures/s on {trainer.setup.compute.described}" if rate else None,
        warnings=tuple(warning for warning in warnings_or_none if warning),
    )


def measure(
    out: Path, pixels: PixelParts, compute: Compute, unreadable: list[Unreadable]
) -> Outcome:
    """Fit the saved checkpoint's temperature, score it, and write both into its facts."""
    outcome = score_run(out, pixels, compute, unreadable)
    if compute.ranks.first:
        save_facts(out, outcome.checkpoint)
    return outcome


def score_run(
    out: Path, pixels: PixelParts, compute: Compute, unreadable: list[Unreadable]
) -> Outcome:
    """Score a saved checkpoint, in float32 like the artifacts, with a temperature fitted anew."""
    network, facts = load_everywhere(out, compute.ranks)
    compute.place(network.model)

    def held_out_logits(pictures: PixelSet | None) -> HeldOutLogits | None:
        if not pictures:
            return None
        evaluation = evaluate_network(
            network.model, pictures, facts.preprocess, compute, exact=True
        )
        return HeldOutLogits(pictures.labels, evaluation.logits)

    judged = judge(held_out_logits(pixels.val), held_out_logits(pixels.test), facts)
    facts = msgspec.structs.replace(
        facts,
        val_top1=judged.val.top1 if judged.val else None,
        test_top1=judged.test.top1 if judged.test else None,
        temperature=judged.temperature,
        temperature_from=judged.temperature_from,
        finished=True,
    )
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
