"""The state of a run folder (new, interrupted, finished), and whether its recipe is the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from edgetl.core.errors import EdgetlError
from edgetl.core.schema import from_yaml, read_document
from edgetl.data.split import SPLITS_FILE, SplitFiles, read_split
from edgetl.workstation.recipe import RECIPE_FILE, Recipe

# The state that `--resume` continues from; gone when a run has finished.
STATE_FILE = "resume.pt"
# Of a run that was adapted to another place: the record, and the runs that it was chosen from.
ADAPTATION_FILE, CANDIDATES_FOLDER = "adaptation.json", "candidates"
State = Literal["new", "interrupted", "finished"]


def require_state(out: Path, state: State, *, resume: bool, what: str = "run") -> None:
    """Raise EdgetlError if a folder in this state can be neither begun nor resumed."""
    article = "an interrupted" if state == "interrupted" else "a"
    if state == "finished" and resume:
        raise EdgetlError(
            f"'{out}' is a finished {what}; there is nothing to resume.",
            hint="to train further, start a new run in another folder with -o.",
        )
    if state != "new" and not resume:
        # A run may be hours of work: never overwrite it.
        raise EdgetlError(
            f"'{out}' already holds {article} {what}.",
            hint="choose another folder with -o"
            + (", or continue it with --resume." if state == "interrupted" else "."),
        )


def run_state(run: Path) -> State:
    """Whether a run folder is new, interrupted after at least one epoch, or finished."""
    from edgetl.workstation.backbones.checkpoint import FACTS_FILE, read_facts

    if (run / FACTS_FILE).is_file() and read_facts(run).finished:
        return "finished"
    return "interrupted" if (run / STATE_FILE).is_file() else "new"


def adaptation_state(out: Path) -> State:
    """The same for a run and the candidates that it is chosen from (`finetune --adapt`)."""
    if run_state(out) != "new":
        return run_state(out)
    begun = any(run_state(run) != "new" for run in (out / CANDIDATES_FOLDER).glob("*"))
    return "interrupted" if begun else "new"


def require_same(run: Path, recipe: Recipe, split: SplitFiles, data: Path) -> None:
    """Raise EdgetlError if a run was begun with another recipe, or on other pictures.

    Other pictures would be split differently, so that a training picture could be tested on.
    """
    require_begun_with(recipe, run)
    if set(_names(read_split(run / SPLITS_FILE))) != set(_names(split)):
        raise EdgetlError(
            f"'{data}' does not hold the same pictures as when '{run}' was begun.",
            hint="put back what was moved, or start again in another folder.",
        )


def _names(split: SplitFiles) -> Iterator[str]:
    yield from split.skipped
    for part in (split.train, split.val, split.test, split.unlabelled):
        for names in part.values():
            yield from names


def require_begun_with(recipe: Recipe, run: Path) -> None:
    """Raise EdgetlError if a run was begun with another recipe than this one."""
    path = run / RECIPE_FILE
    stored = from_yaml(read_document(path), Recipe, where=f"'{path}'")
    if stored != _decided_like(stored, recipe):
        raise EdgetlError(
            f"'{run}' was begun with another recipe.",
            hint=f"compare '{path}', or start a new run in another folder.",
        )


def _decided_like(stored: Recipe, recipe: Recipe) -> Recipe:
    """The recipe, with what it leaves open (picture size, epochs) taken from the stored one."""
    settings = recipe.finetune
    epochs = stored.finetune.epochs if settings.epochs == "auto" else settings.epochs
    return msgspec.structs.replace(
        recipe,
        image_size_px=recipe.image_size_px or stored.image_size_px,
        finetune=msgspec.structs.replace(settings, epochs=epochs),
    )
