"""The pictures of the place where a network will run, and what each of them is for."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgetl.core.errors import DataError
from edgetl.core.progress import Progress
from edgetl.data.dataset import read_for_scoring
from edgetl.data.folders import Example
from edgetl.data.split import Parts, Unlabelled
from edgetl.data.unlabelled import add_unlabelled, content_names, few_named

# Statistics of fewer pictures say little about the place that they are from.
LEAST_PICTURES = 16
# From so many pictures on, a fifth is held apart to choose by.
_ENOUGH_TO_SPLIT, _APART = 80, 0.2


class Target(NamedTuple):
    """Pictures of the place where the network will run.

    Attributes:
        source: their folder.
        learn: those that networks are adapted to.
        judge: those that the criterion is measured on; the same ones if there are few.
        check: labelled ones, which nothing is chosen by; empty if there are none.
        check_source: the folder of `check`.
    """

    source: Path
    learn: tuple[Path, ...]
    judge: tuple[Path, ...]
    check: Sequence[Example] = ()
    check_source: Path | None = None


def find_target(
    parts: Parts, folder: Path, check: str | Path | None, seed: int, progress: Progress
) -> Target:
    """Find the pictures to adapt to, and divide them.

    Args:
        parts: the labelled pictures of the run.
        folder: pictures without labels, at any depth.
        check: labelled pictures of the same place; None: none.
        seed: decides which pictures are held apart to choose by.
        progress: where to say what was found.

    Raises DataError if a folder is missing, has no pictures or fewer than 16, or has pictures that
    are also validated or tested on, or are in `check`.
    """
    (found,) = add_unlabelled(parts, [folder], progress.say, option="--adapt").unlabelled
    target = _divided(found, seed)
    if check is None:
        return target
    examples = read_for_scoring(Path(check), parts.labels)
    _require_apart(found, examples, Path(check))
    return target._replace(check=examples, check_source=Path(check))


def _divided(found: Unlabelled, seed: int) -> Target:
    pictures = found.pictures
    if len(pictures) < LEAST_PICTURES:
        raise DataError(
            f"'{found.source}' has {len(pictures)} pictures to adapt to, which are too few.",
            hint=f"give at least {LEAST_PICTURES}, better some hundreds.",
        )
    if len(pictures) < _ENOUGH_TO_SPLIT:
        return Target(found.source, pictures, pictures)
    order = np.random.default_rng(seed).permutation(len(pictures))
    count = round(_APART * len(pictures))
    learn, judge = (
        tuple(pictures[i] for i in sorted(chosen)) for chosen in (order[count:], order[:count])
    )
    return Target(found.source, learn, judge)


def _require_apart(found: Unlabelled, check: Sequence[Example], folder: Path) -> None:
    paths = [example.path for example in check]
    contents = content_names([*found.pictures, *paths])
    seen = {contents[path] for path in found.pictures}
    leaks = [path for path in paths if contents[path] in seen]
    if leaks:
        raise DataError(
            f"{len(leaks)} pictures of '{folder}' are also among those adapted to: "
            f"{few_named(leaks)}.",
            hint="pictures that only measure must not be adapted to: remove them from the folder "
            "of --adapt.",
        )
