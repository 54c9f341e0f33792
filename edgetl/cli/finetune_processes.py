"""What `edgetl finetune` does about several processes, and about Ctrl-C."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from edgetl.core.errors import EdgetlError
from edgetl.workstation.training.distributed.environment import (
    SaidElsewhereError,
    is_first,
    is_launched,
    require_pictures_for_all,
    require_shareable,
    several,
)

if TYPE_CHECKING:
    from edgetl.workstation.recipe import Recipe
    from edgetl.workstation.run_folder import State


def launch_processes(nproc: int, recipe: "Recipe", device: str, out: Path) -> NoReturn:
    """Run this same command in `nproc` processes, and exit as they do."""
    from edgetl.workstation.run_folder import run_state
    from edgetl.workstation.training.distributed.launching import launch

    if several(os.environ):
        raise EdgetlError("torchrun has started the processes already.", hint="leave --nproc away.")
    require_pictures_for_all(recipe.finetune.batch, nproc)
    require_shareable(device, nproc)
    with resume_hint_on_interrupt(lambda: run_state(out)):
        code = launch([sys.executable, "-m", "edgetl", *sys.argv[1:]], nproc)
    sys.exit(code)


@contextmanager
def one_voice() -> Iterator[None]:
    """Of several processes, let only one report an error or an interruption."""
    try:
        yield
    except SaidElsewhereError:
        sys.exit(1)
    except KeyboardInterrupt:
        # The process that started this one says it.
        if is_launched(os.environ) or not is_first(os.environ):
            sys.exit(130)
        raise


@contextmanager
def resume_hint_on_interrupt(state: "Callable[[], State]") -> Iterator[None]:
    """After Ctrl-C, print that --resume continues if whole epochs are stored."""
    try:
        yield
    except KeyboardInterrupt:
        if state() == "interrupted" and is_first(os.environ) and not is_launched(os.environ):
            click.echo("Whole epochs are kept: the same command with --resume goes on.", err=True)
        raise
