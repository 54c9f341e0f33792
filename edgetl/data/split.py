"""Split examples into train, val and test: seeded and stratified by class."""

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
    """How to split data that does not come with parts of its own.

    Training uses everything outside the validation and test parts. The test part is only used for
    measuring accuracy: once after training, and for each exported artifact.

    Attributes:
        val: the fraction of all pictures for validation, which chooses the epoch and fits the
            temperature. With 0 there is no validation part, and the last epoch is used.
        test: the fraction of all pictures for the test part.
        folds: 2 or more: cross-validation with that many folds; the test part is then one fold,
            and `test` is ignored. 0: no cross-validation.
        fold: which fold is the test part, counted from 0.
    """

    val: Fraction = 0.0
    test: Fraction = 0.2
    folds: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    fold: Annotated[int, msgspec.Meta(ge=0, le=99)] = 0

    def __post_init__(self) -> None:
        if self.folds == 1 or self.fold >= max(1, self.folds):
            raise ValueError(f"fold {self.fold} of {self.folds}: count from 0, and 2 or more folds")


class SplitFiles(Frozen, kw_only=True, frozen=True):
    """The contents of `splits.json`: which picture was in which part.

    Attributes:
        root: the data's folder, absolute.
        labels: class names, in the order of the network's outputs.
        train, val, test: for each label, picture paths relative to `root` (POSIX style), or
            absolute if they lie elsewhere, e.g. in a separate validation folder.
        skipped: paths of the files that could not be read, in the same form.
        added: which of the training pictures were added to the data's own, by the folder or table
            that they are from, absolute.
        unlabelled: the pictures without labels, by the folder that they are from, absolute.
    """

    root: str
    labels: tuple[str, ...]
    train: FilesByLabel
    val: FilesByLabel
    test: FilesByLabel
    skipped: tuple[str, ...] = ()
    added: dict[str, tuple[str, ...]] = {}
    unlabelled: dict[str, tuple[str, ...]] = {}


class Added(NamedTuple):
    """Training pictures beside the data's own, and the folder or table that they are from."""

    source: Path
    examples: tuple[Example, ...]


class Unlabelled(NamedTuple):
    """Pictures without labels, and the folder that they are from."""

    source: Path
    pictures: tuple[Path, ...]


class Parts(NamedTuple):
    """The labels, and the examples of each part; `val` and `test` may be empty.

    Attributes:
        added: those of the training pictures that were added to the data's own
            (`edgetl.data.additions`).
        unlabelled: pictures to train on without their labels (`edgetl.data.unlabelled`).
    """

    labels: tuple[str, ...]
    train: list[Example]
    val: list[Example]
    test: list[Example]
    added: tuple[Added, ...] = ()
    unlabelled: tuple[Unlabelled, ...] = ()


def stratified(
    examples: Sequence[Example], fraction: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Take a random `fraction` of each class.

    With a fraction above 0, a class of two or more pictures has at least one picture on each side.
    Returns (the remaining examples, the taken examples), both in path order.
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
    """Take fold `split.fold` of `split.folds`.

    Stratified k-fold cross-validation (Kohavi 1995, "A Study of Cross-Validation and Bootstrap
    for Accuracy Estimation and Model Selection"). Each example is in exactly one fold, which only
    the seed decides. The sizes of two folds differ by at most one picture, in each class and in
    total.

    Returns (the other folds' examples, the fold's examples), both in path order.
    """
    rng = np.random.default_rng(seed)
    rest: list[Example] = []
    taken: list[Example] = []
    # Pictures are dealt to the folds in turn. Each class continues at the fold after the last one,
    # so that the first folds do not get every class's extra picture.
    dealt = 0
    for label in sorted({example.label for example in examples}):
        members = [example for example in examples if example.label == label]
        for i in rng.permutation(len(members)):
            (taken if dealt % split.folds == split.fold else rest).append(members[i])
            dealt += 1
    return sorted(rest), sorted(taken)


def make_parts(data: Path, split: Split, seed: int, val: Path | None = None) -> Parts:
    """Split data into train, val and test. Parts that the data comes with are used as they are.

    Args:
        data: class folders, train/val(/test) folders of them, or a CSV table.
        split: how to make the parts that the data does not have.
        seed: decides which examples are in which part.
        val: class folders or a table to validate on, instead of a part of `data`.

    The returned `val` is empty if `split.val` is 0 and the data has no validation part.

    Raises DataError if the data cannot be read, if a class would have no training or validation
    picture or fewer pictures than folds, or if folds are requested for data with a test part.
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
        # `split.val` is a fraction of all pictures, but the test part is already taken out.
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
            f"'{data}' has a test part, so it cannot be split into folds.",
            hint="fine-tune without folds, or put all pictures of a class into one folder.",
        )


def _hold_out_test(
    labels: tuple[str, ...], examples: Sequence[Example], split: Split, seed: int
) -> tuple[list[Example], list[Example]]:
    """Take the test part: a fraction, or a fold that has a picture of every class.

    Returns (the remaining examples, the test part).
    """
    if not split.folds:
        return stratified(examples, split.test, seed)
    counts = np.bincount([example.label for example in examples], minlength=len(labels))
    rarest = int(counts.argmin())
    if counts[rarest] < split.folds:
        raise DataError(
            f"Class '{labels[rarest]}' has {counts[rarest]} pictures, too few for {split.folds} "
            "folds.",
            hint="use fewer folds or add pictures of the class: every fold needs one of it.",
        )
    return one_fold(examples, split, seed)


def _require_every_class(parts: Parts, split: Split, val: Path | None) -> None:
    _require_classes(
        parts.labels, parts.train, "training", "give it at least 3 pictures, or remove its folder."
    )
    if val:
        hint = f"add pictures of the class to the validation part of '{val}'."
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
    """The contents of `splits.json` for these parts.

    Args:
        parts: the examples of each part.
        root: the data's folder, which paths are made relative to.
        skipped: files that could not be read.
    """
    base = root.resolve()
    unreadable = set(skipped)

    def by_label(examples: Sequence[Example]) -> FilesByLabel:
        return {
            label: tuple(_relative_name(e.path, base) for e in examples if e.label == index)
            for index, label in enumerate(parts.labels)
        }

    return SplitFiles(
        root=str(base),
        labels=parts.labels,
        train=by_label(parts.train),
        val=by_label(parts.val),
        test=by_label(parts.test),
        skipped=tuple(_relative_name(path, base) for path in skipped),
        added={
            str(each.source.resolve()): tuple(
                _relative_name(example.path, base)
                for example in each.examples
                if example.path not in unreadable
            )
            for each in parts.added
        },
        unlabelled={
            str(each.source.resolve()): tuple(
                _relative_name(path, base) for path in each.pictures if path not in unreadable
            )
            for each in parts.unlabelled
        },
    )


def read_split(path: Path) -> SplitFiles:
    """Read a `splits.json`. Raises SchemaError if it is missing or malformed."""
    return from_json(read_document(path), SplitFiles, where=f"'{path}'")


def resolve(split: SplitFiles, part: FilesByLabel) -> list[Example]:
    """Find the pictures of a part on disk.

    Returns the examples in path order. Raises DataError if a picture is no longer there or a label
    is unknown.
    """
    examples = []
    for label, names in part.items():
        if label not in split.labels:
            raise DataError(
                f"{SPLITS_FILE} names a class that is not a label: '{label}'.",
                hint="the file was altered; fine-tune again.",
            )
        index = split.labels.index(label)
        examples += [Example(_found(Path(split.root), name), index) for name in names]
    return sorted(examples)


def resolve_added(split: SplitFiles) -> list[Added]:
    """Find the added pictures on disk. Raises DataError as `resolve` does."""
    labels = {example.path: example for example in resolve(split, split.train)}
    root = Path(split.root)
    return [
        Added(Path(source), tuple(labels[root / name] for name in names if root / name in labels))
        for source, names in split.added.items()
    ]


def _found(root: Path, name: str) -> Path:
    path = root / name
    if ".." in Path(name).parts or not path.is_file():
        raise DataError(
            f"'{path}' belongs to this run's data and is no longer there.",
            hint="put the pictures back where they were, or fine-tune again.",
        )
    return path


def _relative_name(path: Path, base: Path) -> str:
    """Relative to `base` if it lies below it, so that `splits.json` works on another machine."""
    path = path.resolve()
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)


def pick_balanced(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """Pick up to `count` random examples, spread over the classes as evenly as possible.

    Each class is shuffled; then one example of each class in turn is picked until there are
    enough.
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
