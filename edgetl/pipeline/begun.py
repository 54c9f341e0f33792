"""Whether a run folder was made from this recipe and these pictures."""

from collections.abc import Iterator
from pathlib import Path

from edgetl.core.errors import EdgetlError
from edgetl.core.recipe import Recipe
from edgetl.data.split import SPLITS_FILE, SplitFiles, read_split


def require_same(run: Path, recipe: Recipe, split: SplitFiles, data: Path) -> None:
    """Raises EdgetlError where a run was begun with another recipe, or on other pictures.

    With other pictures the parts would be others, and a picture that was trained on be tested.
    """
    from edgetl.finetune.run import require_begun_with

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
