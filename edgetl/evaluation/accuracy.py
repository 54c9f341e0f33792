"""Running models on labelled pictures, with their own engines and the device's preprocessing."""

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
"""Takes prepared pictures, uint8 [N, size, size, 3]; returns logits, float32 [N, classes]."""

Reader = Callable[[Sequence[Example], Preprocess], Iterator[tuple[Example, Pixels | DataError]]]
"""Yields each example with its prepared pixels, uint8 [size, size, 3], or its DataError."""

_BATCH = 32


class ModelLogits(NamedTuple):
    """The logits of several models for the same pictures.

    Attributes:
        truth: int64 [N], class indices.
        logits: float32 [N, classes] by the models' names.
        skipped: how many pictures could not be read.
    """

    truth: NDArray[np.int64]
    logits: dict[str, NDArray[np.float32]]
    skipped: int

    def predicted(self, name: str) -> NDArray[np.int64]:
        """A model's predicted class indices, int64 [N]; among equal logits the lower index."""
        best: NDArray[np.int64] = self.logits[name].argmax(axis=1)
        return best

    def top1(self, name: str) -> float:
        """Fraction of pictures that a model classifies correctly, 0 to 1."""
        return float((self.predicted(name) == self.truth).mean())

    def agreement(self, name: str, other: str) -> float:
        """Fraction of pictures for which two models predict the same class, 0 to 1."""
        return float((self.predicted(name) == self.predicted(other)).mean())


def one_by_one(logits: Callable[[Pixels], NDArray[np.float32]]) -> Model:
    """Turn a function of one picture, such as `Classifier.logits`, into a model of batches."""
    return lambda pixels: np.stack([logits(picture) for picture in pixels])


def predict_all(
    models: Mapping[str, Model],
    examples: Sequence[Example],
    spec: Preprocess,
    progress: Progress,
    *,
    stage: str,
    read: Reader = read_pixels,
) -> ModelLogits:
    """Run every model on every picture; pictures that cannot be read are skipped.

    Args:
        models: by name.
        examples: the pictures and their class indices.
        spec: how to prepare the pictures.
        progress: where to show how far it is.
        stage: the name of the work to show there.
        read: reads and prepares the pictures.

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
    return ModelLogits(
        np.array(truth, np.int64),
        {name: np.concatenate(parts) for name, parts in logits.items()},
        len(examples) - len(truth),
    )
