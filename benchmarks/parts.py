"""Fixed parts of a data set: train/ and test/ folders of links, decided by a seed alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgetl.data.folders import Example, part_folders, read_class_folders, read_labelled
from edgetl.data.split import stratified


class FixedParts(NamedTuple):
    """Sorted class names, the pictures to learn from and the pictures to measure on."""

    labels: tuple[str, ...]
    train: list[Example]
    test: list[Example]


def fix_parts(data: Path, held_out: float, seed: int) -> FixedParts:
    """Hold a part of class folders out; data that has a val or test part keeps it.

    Args:
        data: class folders, or train/ and val/ (or test/) folders of them.
        held_out: the part of each class to measure on, e.g. 0.2.
        seed: decides which pictures, where the data has no parts of its own.

    Raises DataError.
    """
    parts = part_folders(data)
    if parts:
        labels, train = read_class_folders(parts["train"])
        test = read_labelled(parts.get("test") or parts["val"], labels).examples
        return FixedParts(labels, sorted(train), sorted(test))
    labels, examples = read_class_folders(data)
    return FixedParts(labels, *stratified(examples, held_out, seed))


def at_most(examples: Sequence[Example], counts: Sequence[int], seed: int) -> list[Example]:
    """At most `counts[label]` pictures of each class, chosen by the seed, in path order."""
    rng = np.random.default_rng(seed)
    kept: list[Example] = []
    for label, count in enumerate(counts):
        members = [example for example in examples if example.label == label]
        kept += [members[i] for i in rng.permutation(len(members))[:count]]
    return sorted(kept)


def link_parts(parts: FixedParts, root: Path) -> None:
    """Make `root`/train/<class> and `root`/test/<class>, folders of links to the pictures."""
    for part, chosen in (("train", parts.train), ("test", parts.test)):
        for label in parts.labels:
            (root / part / label).mkdir(parents=True)
        for number, example in enumerate(chosen):
            link = root / part / parts.labels[example.label]
            (link / f"{number:06}{example.path.suffix}").symlink_to(example.path.resolve())
