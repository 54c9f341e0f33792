"""A teacher must not have been trained on the pictures that its student is scored on."""

from collections.abc import Iterator
from pathlib import Path

from edgetl.core.errors import DataError
from edgetl.data.folders import Example
from edgetl.data.split import SPLITS_FILE, Parts, SplitFiles, read_split
from edgetl.data.unlabelled import content_names, few_named


def require_untaught(run: Path, parts: Parts) -> None:
    """Raise DataError if a teacher was trained on validation or test pictures of this run.

    It would pass on what it knows of them, and the student's scores would be too good. Pictures
    are compared by their bytes, and those that are no longer where they were by their path in the
    data's folder. A picture that this run's own training part holds, too, does not count: the
    data repeat it, and the teacher adds nothing to that.

    Args:
        run: the teacher's run folder, with `splits.json`.
        parts: this run's pictures.
    """
    split = read_split(run / SPLITS_FILE)
    taught = [Path(split.root) / name for name in _trained_on(split)]
    here = [path for path in taught if path.is_file()]
    gone = {path.relative_to(split.root).as_posix() for path in taught
            if not path.is_file() and path.is_relative_to(split.root)}  # fmt: skip
    held_out = [*parts.val, *parts.test]
    contents = content_names([*here, *(example.path for example in (*held_out, *parts.train))])
    known = {contents[path] for path in here}
    known -= {contents[example.path] for example in parts.train}
    leaks = [e for e in held_out if contents[e.path] in known or _ends_in(e, gone)]
    if leaks:
        raise DataError(
            f"The teacher '{run}' was trained on {len(leaks)} of the {len(held_out)} validation "
            f"and test pictures of this run: {few_named([example.path for example in leaks])}.",
            hint="train the teacher on the same data with the same --seed and split settings, so "
            "that both hold the same pictures out.",
        )


def _trained_on(split: SplitFiles) -> Iterator[str]:
    for names in (*split.train.values(), *split.unlabelled.values()):
        yield from names


def _ends_in(example: Example, names: set[str]) -> bool:
    """Whether a picture's path ends in one of the names, e.g. "cat/07.jpg"."""
    parts = example.path.parts
    return any("/".join(parts[-depth:]) in names for depth in range(2, min(5, len(parts))))
