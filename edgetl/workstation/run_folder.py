"""What a run folder holds: nothing, an interrupted run or a finished one, and of which recipe."""

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
State = Literal["new", "interrupted", "finished"]


def require_state(out: Path, state: State, *, resume: bool, what: str = "run") -> None:
    """Raises EdgetlError where a folder in this state can be neither begun nor resumed."""
    article = "an interrupted" if state == "interrupted" else "a"
    if state == "finished" and resume:
        raise EdgetlError(
            f"'{out}' is a finished {what}; there is nothing to resume.",
            hint="to train further, start a new run in another folder with -o.",
        )
    if state != "new" and not resume:
        # Either is hours of work: never train over it.
        raise EdgetlError(
            f"'{out}' already holds {article} {what}.",
            hint="choose another folder with -o"
            + (", or continue it with --resume." if state == "interrupted" else "."),
        )


def run_state(run: Path) -> State:
    """What a run folder holds: nothing worth keeping, whole epochs, or a finished run."""
    from edgetl.workstation.backbones.checkpoint import FACTS_FILE, read_facts

    if (run / FACTS_FILE).is_file() and read_facts(run).finished:
        return "finished"
    return "interrupted" if (run / STATE_FILE).is_file() else "new"


def require_same(run: Path, recipe: Recipe, split: SplitFiles, data: Path) -> None:
    """Raises EdgetlError where a run was begun with another recipe, or on other pictures.

    With other pictures the parts would be others, and a picture that was trained on be tested.
    """
    require_begun_with(recipe, run)
    if set(_names(read_split(run / SPLITS_FILE))) != set(_names(split)):
        raise EdgetlError(
            f"'{data}' does not hold the same pictures as when '{run}' was begun.",
            hint="put back what was moved, or start again in another folder.",
        )


def _names(split: SplitFiles) -> Iterator[str]:
    yield from split.skipped
    for part in (split.train, split.val, split.test):
        for names in part.values():
            yield from names


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
