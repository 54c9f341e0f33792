"""`edgetl finetune`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import click

from edgetl.cli.completion import backbones, names, recipes
from edgetl.cli.finetune_options import place_options, refuse_exclusive, teacher_options
from edgetl.cli.finetune_processes import (
    launch_processes,
    one_voice,
    resume_hint_on_interrupt,
)
from edgetl.cli.finetune_text import (
    adaptation_text,
    folds_text,
    rates_text,
    refit_closing,
    run_text,
)
from edgetl.cli.help import SectionedCommand, examples
from edgetl.workstation.training.distributed.environment import is_first, is_launched

if TYPE_CHECKING:
    from edgetl.data.folders import Unreadable
    from edgetl.workstation.recipe import Recipe
    from edgetl.workstation.training.run import Outcome
    from edgetl.workstation.training.teaching.request import Teaching

_OF_THE_RECIPE = "[default: the recipe's]"


@click.command(
    "finetune",
    cls=SectionedCommand,
    sections={
        "Recipe": (
            "--recipe", "--backbone", "--weights", "--image-size", "--epochs", "--seed", "--set",
        ),
        "Data and what is trained": ("--val", "--add", "--folds", "--refit", "--find-rate"),
        "Another place": ("--adapt", "--adapt-check"),
        "A teacher": ("--teacher", "--teacher-backbone", "--unlabelled"),
        "Run": ("--out", "--device", "--nproc", "--resume", "--log"),
    },
    epilog=examples(
        "edgetl finetune photos/ -o run",
        "edgetl finetune photos/ -o run -r edge-fast --set augment=strong",
        "edgetl finetune photos/ --add kept/ -o run2",
        "edgetl finetune photos/ --teacher large/ --unlabelled more/ -o small",
        "edgetl finetune photos/ --adapt from-the-camera/ -o run",
    ),
)  # fmt: skip
@click.argument("data", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The run folder.")
@click.option(
    "-r",
    "--recipe",
    default=None,
    metavar="RECIPE",
    shell_complete=names(recipes, or_file=True),
    help="A recipe's name or a YAML file.  [default: edge-default]",
)
@click.option(
    "--backbone",
    default=None,
    metavar="NAME",
    shell_complete=names(backbones),
    help=f"The network, e.g. mobilenet_v2.  {_OF_THE_RECIPE}",
)
@click.option(
    "--weights",
    default=None,
    metavar="WEIGHTS",
    shell_complete=names(lambda: ("imagenet", "none"), or_file=True),
    help=f"imagenet, none, or a weights file.  {_OF_THE_RECIPE}",
)
@click.option(
    "--image-size",
    type=int,
    default=None,
    metavar="PX",
    help=f"Side of the network's input.  {_OF_THE_RECIPE}",
)
@click.option("--epochs", type=int, default=None,
              help=f"Epochs after the linear probe.  {_OF_THE_RECIPE}")  # fmt: skip
@click.option("--seed", type=int, default=None,
              help=f"Seed of the split and of training.  {_OF_THE_RECIPE}")  # fmt: skip
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set any key of the recipe; may be repeated.",
)
@click.option(
    "--val", type=click.Path(path_type=Path), default=None, help="Folder of validation pictures."
)
@click.option(
    "--add",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Train on these pictures, too: a reviewed folder of `run --collect`, class folders or a "
    "table. Can be repeated.",
)
@teacher_options()
@place_options()
@click.option(
    "--device",
    default="auto",
    metavar="NAME",
    shell_complete=names(lambda: ("auto", "cpu", "cuda", "mps")),
    help="auto, cpu, cuda, cuda:N or mps; auto takes the GPU with the most free memory.",
)
@click.option(
    "--nproc",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Train in N processes on this machine, each on a GPU of its own or a share of the cores.",
)
@click.option("--resume", is_flag=True, help="Continue an interrupted run.")
@click.option(
    "--folds",
    type=click.IntRange(2, 100),
    default=None,
    metavar="K",
    help="Cross-validate: K runs, each tested on another K-th of the pictures.",
)
@click.option(
    "--refit",
    is_flag=True,
    help="After the measured run, train again on every picture, for the model that ships.",
)
@click.option(
    "--find-rate", is_flag=True, help="Run a learning-rate range test instead of training."
)
@click.option(
    "--log",
    "loggers",
    multiple=True,
    metavar="NAME",
    shell_complete=names(lambda: ("tensorboard", "mlflow")),
    help="Log every epoch to tensorboard or mlflow; may be repeated.",
)
def command(
    data: Path,
    out: Path,
    recipe: str | None,
    backbone: str | None,
    weights: str | None,
    image_size: int | None,
    epochs: int | None,
    seed: int | None,
    settings: tuple[str, ...],
    val: Path | None,
    add: tuple[Path, ...],
    teacher: Path | None,
    teacher_backbone: str | None,
    unlabelled: tuple[Path, ...],
    adapt: Path | None,
    adapt_check: Path | None,
    device: str,
    nproc: int,
    resume: bool,
    folds: int | None,
    refit: bool,
    find_rate: bool,
    loggers: tuple[str, ...],
) -> None:
    """Fine-tune a network on the pictures in DATA.

    DATA holds a folder per class, or train/val(/test) folders of them; or is a CSV table with
    columns path and label, and split (train, val, test) if you divide the pictures yourself, with
    paths absolute or relative to the table's folder; or is torchvision:NAME, a public data
    set. The run folder gets the checkpoint, its metrics, the resolved recipe, and which picture
    was in which part.

    A fifth of a single folder's pictures is held out to test on, and everything else is trained
    on. With --add, further pictures are trained on, and none of them is validated or tested on.
    With --teacher, a larger network's answers on each training picture are learned beside the
    labels; the recipe's section distil says how.
    With --adapt, a plain network and networks adapted to DIR are trained (the recipe's section
    adapt names one way), in the run folder's candidates/; one is chosen without labels.
    With --folds the run folder gets a run for each fold, fold-1 and so on, and folds.json with
    their scores. With --refit it also gets refit, a run that is trained on the test pictures, too,
    and carries the score of the run that is not; if the run is finished, only refit is added. With
    --find-rate it gets rates.png and rates.jsonl, and may be used for a run afterwards.
    """
    from edgetl.workstation.recipe import DEFAULT_RECIPE
    from edgetl.workstation.training.teaching.request import Teaching
    from edgetl.workstation.user_recipe import user_recipe

    teaching = Teaching(teacher, teacher_backbone, unlabelled)
    launches = nproc > 1 and not is_launched(os.environ)
    refuse_exclusive({
        "--find-rate": find_rate, "--folds": folds, "--refit": refit, "--resume": resume,
        "--log": loggers, "--adapt": adapt, "--adapt-check": adapt_check, "--nproc": launches,
        "--teacher": teaching.has_teacher, "--unlabelled": unlabelled,
    })  # fmt: skip
    options = {
        "backbone": backbone,
        "weights": weights,
        "image_size_px": image_size,
        "finetune.epochs": epochs,
        "seed": seed,
        "split.folds": folds,
    }
    given = [f"{key}={value}" for key, value in options.items() if value is not None]
    resolved = user_recipe(
        recipe or DEFAULT_RECIPE,
        [*given, *settings],
        teacher=teaching.has_teacher,
        adapts=adapt is not None,
    )
    if not (find_rate or resume or is_launched(os.environ)):
        _require_exportable(resolved)
    if launches:
        launch_processes(nproc, resolved, device, out)
        return
    if find_rate:
        _find_rate(data, out, resolved, val, add, device)
        return
    training: _Training = {
        "val": val, "add": add, "device": device, "resume": resume, "loggers": loggers,
    }  # fmt: skip
    if refit:
        _refit(data, out, resolved, training, teaching, folds=bool(folds))
    elif folds:
        _cross_validate(data, out, resolved, training, teaching)
    else:
        _finetune(data, out, resolved, training, teaching, adapt, adapt_check)


def _require_exportable(recipe: "Recipe") -> None:
    """Say before training what could not be exported after it; tests show the catalogue's can."""
    from edgetl.cli.progress import make_progress
    from edgetl.workstation.backbones.catalogue import TIMM_PREFIX
    from edgetl.workstation.libraries import require_training

    if not recipe.backbone.startswith(TIMM_PREFIX):
        return
    require_training()  # torch, which the next import needs
    from edgetl.workstation.export.untrained import require_exportable

    require_exportable(recipe, make_progress())


class _Training(TypedDict):
    """The options that all training commands share."""

    val: Path | None
    add: Sequence[Path]
    device: str
    resume: bool
    loggers: Sequence[str]


def _finetune(
    data: Path,
    out: Path,
    recipe: "Recipe",
    training: _Training,
    teaching: "Teaching",
    adapt: Path | None,
    adapt_check: Path | None,
) -> None:
    from edgetl.cli.progress import make_progress
    from edgetl.workstation.run_folder import adaptation_state
    from edgetl.workstation.training.finetune import finetune

    with one_voice(), resume_hint_on_interrupt(lambda: adaptation_state(out)):
        outcome = finetune(
            data,
            out,
            recipe,
            adapt=adapt,
            adapt_check=adapt_check,
            progress=make_progress(),
            **training,
            **teaching._asdict(),
        )
    if not is_first(os.environ):
        return
    _say_unreadable(outcome.unreadable)
    _warn(outcome)
    if outcome.adaptation:
        click.echo(adaptation_text(outcome.adaptation))
    click.echo(run_text(outcome))


def _cross_validate(
    data: Path, out: Path, recipe: "Recipe", training: _Training, teaching: "Teaching"
) -> None:
    from edgetl.cli.progress import make_progress
    from edgetl.workstation.training.folds import FOLDS_FILE, cross_validate, folds_state

    with resume_hint_on_interrupt(lambda: folds_state(out)):
        validated = cross_validate(
            data, out, recipe, teaching=teaching, progress=make_progress(), **training
        )
    _say_unreadable(validated.unreadable)
    click.echo(folds_text(validated.report))
    click.echo(f"{out}: a run a fold, and {FOLDS_FILE}")


def _refit(
    data: Path,
    out: Path,
    recipe: "Recipe",
    training: _Training,
    teaching: "Teaching",
    *,
    folds: bool,
) -> None:
    from edgetl.cli.progress import make_progress
    from edgetl.workstation.training.refit import finetune_and_refit, refit_state

    with resume_hint_on_interrupt(lambda: refit_state(out, folds=folds)):
        refitted = finetune_and_refit(
            data,
            out,
            recipe,
            folds=folds,
            teaching=teaching,
            progress=make_progress(),
            **training,
        )
    _say_unreadable(refitted.outcome.unreadable)
    if refitted.run:
        _warn(refitted.run)
        click.echo(run_text(refitted.run))
    if refitted.validated:
        click.echo(folds_text(refitted.validated.report))
    click.echo(refit_closing(refitted.outcome))


def _find_rate(
    data: Path,
    out: Path,
    recipe: "Recipe",
    val: Path | None,
    add: Sequence[Path],
    device: str,
) -> None:
    from edgetl.cli.progress import make_progress
    from edgetl.workstation.training.finetune import find_rate

    rates = find_rate(data, out, recipe, val=val, add=add, device=device, progress=make_progress())
    click.echo(rates_text(rates))


def _warn(outcome: "Outcome") -> None:
    for warning in outcome.warnings:
        click.echo(f"warning: {warning}", err=True)


def _say_unreadable(unreadable: "Sequence[Unreadable]") -> None:
    for item in unreadable[:10]:
        click.echo(f"skipped: {item.reason}", err=True)
    if unreadable:
        click.echo(f"skipped {len(unreadable)} unreadable pictures in all", err=True)
