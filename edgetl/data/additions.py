"""Further pictures to train on, from the field: never to validate or test on."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from edgetl.collection.records import is_collected, read_contents
from edgetl.core.errors import DataError
from edgetl.core.files import sha256_of
from edgetl.data.dataset import read_examples
from edgetl.data.folders import Example
from edgetl.data.split import Added, Parts

_NAMED = 10


class _Found(NamedTuple):
    """The labelled pictures of one place, and what of it is left out, in words."""

    examples: Sequence[Example]
    left_out: list[str]


def add_to_training(
    parts: Parts, sources: Sequence[Path], say: Callable[[str], None] = lambda _: None
) -> Parts:
    """Add further pictures to the training part.

    A picture that is already in one of the parts is left out, whatever its label; so is what
    nobody has reviewed in a collected folder, or what shows none of the classes.

    Args:
        parts: the data's.
        sources: collected folders with reviewed pictures, class folders, or tables.
        say: called with a sentence for each source.

    Raises DataError if a source cannot be read or has no labelled picture, has a label that the
    data does not have, or if one picture has two labels.
    """
    if not sources:
        return parts
    found = {source: _read(source.resolve(), parts.labels) for source in sources}
    candidates = [example for each in found.values() for example in each.examples]
    hashes = {path: _hash(path) for path in {example.path for example in candidates}}
    present = _hashes_of((*parts.train, *parts.val, *parts.test), hashes)
    taken: dict[str, Example] = {}
    added: list[Added] = []
    for source, each in found.items():
        new: list[Example] = []
        for example in each.examples:
            digest = hashes[example.path]
            other = taken.get(digest)
            if other is not None and other.label != example.label:
                raise _two_labels(example, other, parts.labels)
            if other is None and digest not in present:
                taken[digest] = example
                new.append(example)
        repeated = len(each.examples) - len(new)
        left_out = [*each.left_out, *([f"{repeated} that are there already"] if repeated else [])]
        count = "1 picture is" if len(new) == 1 else f"{len(new)} pictures are"
        say(
            f"{source}: {count} added to the training part"
            + (f"; left out: {', '.join(left_out)}" if left_out else "")
        )
        added.append(Added(source, tuple(sorted(new))))
    return with_added(parts, added)


def with_added(parts: Parts, added: Sequence[Added]) -> Parts:
    """The parts with these pictures in the training part."""
    new = [example for each in added for example in each.examples]
    return parts._replace(train=sorted([*parts.train, *new]), added=tuple(added))


def _read(source: Path, labels: tuple[str, ...]) -> _Found:
    if not is_collected(source):
        return _Found(read_examples(source, labels), [])
    contents = read_contents(source)
    index = {label: i for i, label in enumerate(labels)}
    examples, lacking, none = [], set(), 0
    reviews = [(each.path, each.record.review) for each in contents.pictures]
    for path, review in reviews:
        if review is None:
            continue
        if review.label is None:
            none += 1
        elif review.label in index:
            examples.append(Example(path, index[review.label]))
        else:
            lacking.add(review.label)
    if lacking:
        names = ", ".join(f"'{label}'" for label in sorted(lacking)[:_NAMED])
        raise DataError(
            f"'{source}' has pictures of classes that the data set does not have: {names}.",
            hint="a new class needs pictures to test on: make a class folder for it in the data.",
        )
    if not examples:
        raise DataError(
            f"No picture of '{source}' has a label.",
            hint=f"edgetl review {source} -o review.html",
        )
    counts = {
        "not reviewed": sum(review is None for _, review in reviews),
        "none of the classes": none,
        "damaged": len(contents.problems),
    }
    return _Found(examples, [f"{count} {why}" for why, count in counts.items() if count])


def _hashes_of(examples: Iterable[Example], candidates: dict[Path, str]) -> set[str]:
    """The hashes of the examples that may be one of the candidates, which have the same size."""
    sizes = {path.stat().st_size for path in candidates}
    hashes = set()
    for example in examples:
        with suppress(OSError):  # a file that cannot be read is reported when it is decoded
            if example.path.stat().st_size in sizes:
                hashes.add(sha256_of(example.path))
    return hashes


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}.") from error


def _two_labels(one: Example, other: Example, labels: tuple[str, ...]) -> DataError:
    return DataError(
        f"'{one.path}' and '{other.path}' are the same picture, labelled '{labels[one.label]}' and "
        f"'{labels[other.label]}'.",
        hint="correct one of the labels.",
    )
