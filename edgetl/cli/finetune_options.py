"""The options of `edgetl finetune` for a teacher, and for another place."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgetl.cli.completion import backbones, names
from edgetl.cli.hosts import adding

if TYPE_CHECKING:
    from edgetl.cli.options import Decorator

_PATH = click.Path(path_type=Path)


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
