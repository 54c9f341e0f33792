"""The options of `edgetl finetune` for a teacher and another place, and what excludes what."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgetl.cli.completion import backbones, names
from edgetl.cli.hosts import adding

if TYPE_CHECKING:
    from edgetl.cli.options import Decorator

_PATH = click.Path(path_type=Path)
# An option, those that it excludes, and what is said then.
_EXCLUDED = (
    ("--find-rate", ("--teacher", "--unlabelled"),
     "--find-rate has no teacher: leave --teacher and --unlabelled away."),
    ("--find-rate", ("--folds", "--refit", "--resume", "--log"),
     "--find-rate trains nothing: leave --folds, --refit, --resume and --log away."),
    ("--adapt", ("--teacher", "--folds", "--refit", "--find-rate"),
     "--adapt trains several networks, each plainly: leave --teacher, --folds, --refit and "
     "--find-rate away."),
    ("--nproc", ("--folds", "--refit", "--find-rate", "--teacher", "--adapt"),
     "--nproc is for a plain run: not --folds, --refit, --find-rate, --teacher, --adapt."),
)  # fmt: skip


def refuse_exclusive(given: Mapping[str, object]) -> None:
    """Raise click.UsageError if two options do not go together.

    `given`: the options by name, with a true value for those that are given.
    """
    for option, others, message in _EXCLUDED:
        if given[option] and any(given[other] for other in others):
            raise click.UsageError(message)
    if given["--adapt-check"] and not given["--adapt"]:
        raise click.UsageError("--adapt-check needs --adapt.")


def teacher_options() -> "Decorator":
    """Add the options that name a teacher, and the pictures that it labels."""
    each = (
        click.option("--teacher", type=_PATH, default=None, metavar="RUN|FILE",
                     help="Learn from this network, too: a fine-tuned run with the same labels, "
                     "or a weights file."),
        click.option("--teacher-backbone", default=None, metavar="NAME",
                     shell_complete=names(backbones),
                     help="The network of the teacher's weights file, or timm:NAME; without a "
                     "file its ImageNet weights. It gets a linear probe and stays frozen."),
        click.option("--unlabelled", multiple=True, type=_PATH, metavar="DIR",
                     help="Train on these pictures, too, as the teacher labels them. Can be "
                     "repeated."),
    )  # fmt: skip
    return adding(*each)


def place_options() -> "Decorator":
    """Add the options that name pictures of the place where the network will run."""
    each = (
        click.option("--adapt", type=_PATH, default=None, metavar="DIR",
                     help="Adapt to the place where the network will run: DIR holds pictures from "
                     "there, without labels."),
        click.option("--adapt-check", type=_PATH, default=None, metavar="DIR",
                     help="Labelled pictures from there, as class folders: they measure, and "
                     "choose nothing."),
    )  # fmt: skip
    return adding(*each)
