"""Which training pictures an int8 model is calibrated with, and which samples a bundle keeps."""

from collections.abc import Sequence

import numpy as np

from edgetl.data.folders import Example


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
