"""How right models are, measured through their own engines and the device's preprocessing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.errors import DataError
from edgetl.core.progress import Progress
from edgetl.data.folders import Example
from edgetl.data.reading import read_pixels
from edgetl.runtime.preprocess import Pixels

Model = Callable[[Pixels], NDArray[np.float32]]
"""Logits float32 [N, classes] of prepared pictures, uint8 [N, size, size, 3]."""

Reader = Callable[[Sequence[Example], Preprocess], Iterator[tuple[Example, Pixels | DataError]]]
"""Examples with their prepared pixels, uint8 [size, size, 3], or why they cannot be read."""

_BATCH = 32


class Answers(NamedTuple):
    """What several models said of the same pictures.

    Attributes:
        truth: int64 [N], class indices.
        logits: for each model, float32 [N, classes].
        skipped: how many pictures could not be read.
    """

    truth: NDArray[np.int64]
    logits: dict[str, NDArray[np.float32]]
    skipped: int

    def predicted(self, name: str) -> NDArray[np.int64]:
        """Class indices int64 [N]; of equal logits the lower index."""
        best: NDArray[np.int64] = self.logits[name].argmax(axis=1)
        return best

    def top1(self, name: str) -> float:
        """Fraction right, 0 to 1."""
        return float((self.predicted(name) == self.truth).mean())

    def agreement(self, name: str, other: str) -> float:
        """Fraction of pictures where two models say the same, 0 to 1."""
        return float((self.predicted(name) == self.predicted(other)).mean())


def one_by_one(logits: Callable[[Pixels], NDArray[np.float32]]) -> Model:
    """Make a batch model of one that takes a single picture, as every engine does."""
    return lambda pixels: np.stack([logits(picture) for picture in pixels])


def answer_all(
    models: Mapping[str, Model],
    examples: Sequence[Example],
    spec: Preprocess,
    progress: Progress,
    *,
    stage: str,
    read: Reader = read_pixels,
) -> Answers:
    """Show every picture to every model, as `read` prepares it.

    Raises DataError if no picture can be read.
    """
    truth: list[int] = []
    logits: dict[str, list[NDArray[np.float32]]] = {name: [] for name in models}
    with progress.stage(stage, len(examples), "pictures") as shown:
        pictures = read(examples, spec)
        while chunk := list(islice(pictures, _BATCH)):
            good = [(e.label, pixels) for e, pixels in chunk if not isinstance(pixels, DataError)]
            if good:
                truth += [label for label, _ in good]
                batch = np.stack([pixels for _, pixels in good])
                for name, model in models.items():
                    logits[name].append(model(batch))
            shown.advance(len(chunk))
    if not truth:
        raise DataError(f"None of the {len(examples)} pictures can be read.")
    return Answers(
        np.array(truth, np.int64),
        {name: np.concatenate(parts) for name, parts in logits.items()},
        len(examples) - len(truth),
    )
