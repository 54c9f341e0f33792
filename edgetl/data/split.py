"""Seeded, stratified parting of examples into train, val and test."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import numpy as np

from edgetl.core.errors import DataError
from edgetl.core.schema import Frozen, from_json, read_document
from edgetl.data.dataset import read_source
from edgetl.data.folders import Example

SPLITS_FILE = "splits.json"
FilesByLabel = dict[str, tuple[str, ...]]
Fraction = Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)]


class Split(Frozen, kw_only=True, frozen=True):
    """How one folder of classes is parted, stratified by class.

    What is not in the test part is trained on, unless `val` is above 0: that fraction then picks
    the best epoch and fits the temperature. Without it the last epoch is the one that counts.
    `test` is touched once, at the end, and by the artifacts' measurements. Data that comes in
    parts keeps its own. With `folds` of 2 or more the test part is fold `fold` (from 0) of that
    many, and `test` is not used.
    """

    val: Fraction = 0.0
    test: Fraction = 0.2
    folds: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    fold: Annotated[int, msgspec.Meta(ge=0, le=99)] = 0

    def __post_init__(self) -> None:
        if self.folds == 1 or self.fold >= max(1, self.folds):
            raise ValueError(f"fold {self.fold} of {self.folds}: count from 0, and 2 or more folds")


class SplitFiles(Frozen, kw_only=True, frozen=True):
    """`splits.json`: which file was in which part.

    Each part maps a label to paths below `root` (POSIX style; absolute where a picture of a
    separate validation folder lies elsewhere).
    """

    root: str
    labels: tuple[str, ...]
    train: FilesByLabel
    val: FilesByLabel
    test: FilesByLabel
    skipped: tuple[str, ...] = ()


class Parts(NamedTuple):
    """Labels and the examples of each part; `val` and `test` may be empty."""

    labels: tuple[str, ...]
    train: list[Example]
    val: list[Example]
    test: list[Example]


def stratified(
    examples: Sequence[Example], fraction: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Take `fraction` of each class away: (the rest, the taken), both in path order.

    A class with at least two pictures and a fraction above 0 gives at least one and keeps one.
    """
    rng = np.random.default_rng(seed)
    rest: list[Example] = []
    taken: list[Example] = []
    for label in sorted({example.label for example in examples}):
        members = [example for example in examples if example.label == label]
        count = round(fraction * len(members))
        if fraction > 0 and len(members) > 1:
            count = min(max(count, 1), len(members) - 1)
        order = rng.permutation(len(members))
        taken += [members[i] for i in order[:count]]
        rest += [members[i] for i in order[count:]]
    return sorted(rest), sorted(taken)


def one_fold(
    examples: Sequence[Example], split: Split, seed: int
) -> tuple[list[Example], list[Example]]:
    """Take fold `split.fold` of `split.folds` away: (the rest, the fold), both in path order.

    Stratified k-fold cross-validation (Kohavi 1995, "A Study of Cross-Validation and Bootstrap
    for Accuracy Estimation and Model Selection"). Each example is in exactly one fold. Folds
    differ by at most one picture, in each class and in all; the seed alone decides who is where.
    """
    rng = np.random.default_rng(seed)
    rest: list[Example] = []
    taken: list[Example] = []
    dealt = 0  # each class is dealt on from where the last one stopped, so that no fold gets more
    for label in sorted({example.label for example in examples}):
        members = [example for example in examples if example.label == label]
        for i in rng.permutation(len(members)):
            (taken if dealt % split.folds == split.fold else rest).append(members[i])
            dealt += 1
    return sorted(rest), sorted(taken)


def make_parts(data: Path, split: Split, seed: int, val: Path | None = None) -> Parts:
    """Part the data as it is given (train/val(/test) folders, a table's splits) or by `split`.

    Args:
        data: class folders, train/val(/test) folders of them, or a CSV table.
        split: fractions of the whole for val and test, or which fold is for testing.
        val: class folders or a table to validate on instead of a part of `data`.

    `val` is empty where `split.val` is 0 and the data has no validation part of its own.
    Raises DataError; also where a class would have no training or validation picture, or too few
    for the folds.
    """
    source = read_source(data, val)
    if "test" in source.parts:
        _require_no_folds(split, data)
        rest, test = list(source.parts["train"]), list(source.parts["test"])
    elif "all" in source.parts or split.folds:
        whole = source.parts.get("all") or source.parts["train"]
        rest, test = _hold_out_test(source.labels, whole, split, seed)
    else:
        rest, test = list(source.parts["train"]), []
    given = source.parts.get("val")
    if given is None:
        # `split.val` is a fraction of everything, and the test part is already gone.
        fraction = min(0.5, split.val * (len(rest) + len(test)) / max(1, len(rest)))
        rest, held_out = stratified(rest, fraction, seed + 1)
    else:
        held_out = list(given)
    parts = Parts(source.labels, rest, held_out, test)
    _require_every_class(parts, split, val or (data if given is not None else None))
    return parts


def _require_no_folds(split: Split, data: Path) -> None:
    if split.folds:
        raise DataError(
            f"'{data}' has a test part of its own; folds would take others.",
            hint="fine-tune without folds, or put all pictures into one folder a class.",
        )


def _hold_out_test(
    labels: tuple[str, ...], examples: Sequence[Example], split: Split, seed: int
) -> tuple[list[Example], list[Example]]:
    """(The rest, the test part): a fraction, or a fold that has a picture of every class."""
    if not split.folds:
        return stratified(examples, split.test, seed)
    counts = np.bincount([example.label for example in examples], minlength=len(labels))
    rarest = int(counts.argmin())
    if counts[rarest] < split.folds:
        raise DataError(
            f"Class '{labels[rarest]}' has {counts[rarest]} pictures, too few for {split.folds} "
            "folds.",
            hint="every fold tests on every class: take fewer folds, or give it more pictures.",
        )
    return one_fold(examples, split, seed)


def _require_every_class(parts: Parts, split: Split, val: Path | None) -> None:
    _require_classes(
        parts.labels, parts.train, "training", "give it at least 3 pictures, or remove its folder."
    )
    if val:
        hint = f"put pictures of it into the validation part of '{val}'."
        _require_classes(parts.labels, parts.val, "validation", hint)
    elif split.val:
        hint = "give it at least 3 pictures, or train without a validation part: --set split.val=0"
        _require_classes(parts.labels, parts.val, "validation", hint)


def _require_classes(
    labels: tuple[str, ...], examples: Sequence[Example], part: str, hint: str
) -> None:
    found = {example.label for example in examples}
    for index, label in enumerate(labels):
        if index not in found:
            raise DataError(f"Class '{label}' has no {part} picture.", hint=hint)


def describe(parts: Parts, root: Path, skipped: Sequence[Path]) -> SplitFiles:
    """The record of a split, for `splits.json`."""
    base = root.resolve()

    def by_label(examples: Sequence[Example]) -> FilesByLabel:
        return {
            label: tuple(_name_below(e.path, base) for e in examples if e.label == index)
            for index, label in enumerate(parts.labels)
        }

    return SplitFiles(
        root=str(base),
        labels=parts.labels,
        train=by_label(parts.train),
        val=by_label(parts.val),
        test=by_label(parts.test),
        skipped=tuple(_name_below(path, base) for path in skipped),
    )


def read_split(path: Path) -> SplitFiles:
    """Read a `splits.json`. Raises SchemaError."""
    return from_json(read_document(path), SplitFiles, where=f"'{path}'")


def resolve(split: SplitFiles, part: FilesByLabel) -> list[Example]:
    """The examples of a part, found again on disk.

    Raises DataError where a picture is no longer there or a label is unknown.
    """
    examples = []
    for label, names in part.items():
        if label not in split.labels:
            raise DataError(f"{SPLITS_FILE} names a class that is not a label: '{label}'.")
        index = split.labels.index(label)
        examples += [Example(_found(Path(split.root), name), index) for name in names]
    return sorted(examples)


def _found(root: Path, name: str) -> Path:
    path = root / name
    if ".." in Path(name).parts or not path.is_file():
        raise DataError(
            f"'{path}' was part of this run's data and is no longer there.",
            hint="put the pictures back where they were, or fine-tune again.",
        )
    return path


def _name_below(path: Path, base: Path) -> str:
    """Relative where it can be, so that the record does not depend on the machine."""
    path = path.resolve()
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)


def pick_balanced(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """Up to `count` examples, as evenly over the classes as they allow; seeded.

    Each class is shuffled, then one is taken from each in turn until there are enough.
    """
    rng = np.random.default_rng(seed)
    queues = []
    for label in sorted({example.label for example in examples}):
        members = [example for example in examples if example.label == label]
        queues.append([members[i] for i in rng.permutation(len(members))])
    picked: list[Example] = []
    while len(picked) < count and any(queues):
        for queue in queues:
            if queue and len(picked) < count:
                picked.append(queue.pop())
    return picked
