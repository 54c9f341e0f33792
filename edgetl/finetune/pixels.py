"""Pictures decoded once, by the device's own code, into one uint8 array."""

import os
import tempfile
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgetl.core.errors import DataError, EdgetlError
from edgetl.core.preprocess import Preprocess
from edgetl.core.progress import Progress
from edgetl.data.folders import Example, Unreadable
from edgetl.data.reading import read_pixels
from edgetl.runtime.preprocess import Pixels

# Below this the pixels stay in memory; above it they go to a file the system pages in and out.
_IN_MEMORY_BYTES = 1 << 30
# Training pictures keep this much more than the network sees, for crops to choose from.
_MARGIN = 1.14


class PixelSet:
    """Decoded pictures and their labels: uint8 [N, S, S, 3] and int64 [N]."""

    def __init__(self, pixels: Pixels, labels: NDArray[np.int64]) -> None:
        self.pixels = pixels
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)


def training_spec(spec: Preprocess) -> Preprocess:
    """The device's preprocessing at a larger size, so that random crops lose no sharpness."""
    size_px = 8 * round(spec.size_px * _MARGIN / 8)
    return msgspec.structs.replace(spec, size_px=size_px)


def decode_all(
    examples: Sequence[Example], spec: Preprocess, progress: Progress, *, stage: str
) -> tuple[PixelSet, list[Example], list[Unreadable]]:
    """Decode every picture once; those that cannot be read are set aside.

    Returns the pixels, the examples they belong to (in order), and the unreadable ones.
    Raises DataError if none can be read, EdgetlError if there is no room for them.
    """
    pixels = _room_for(len(examples), spec.size_px)
    kept: list[Example] = []
    unreadable: list[Unreadable] = []
    with progress.stage(stage, len(examples), "pictures") as shown:
        for example, outcome in read_pixels(examples, spec):
            if isinstance(outcome, DataError):
                unreadable.append(Unreadable(example.path, str(outcome)))
            else:
                pixels[len(kept)] = outcome
                kept.append(example)
            shown.advance()
    if not kept:
        raise DataError(f"None of the {len(examples)} pictures can be read.")
    labels = np.array([example.label for example in kept], dtype=np.int64)
    return PixelSet(pixels[: len(kept)], labels), kept, unreadable


def _room_for(count: int, size_px: int) -> Pixels:
    shape = (count, size_px, size_px, 3)
    if int(np.prod(shape)) <= _IN_MEMORY_BYTES:
        return np.empty(shape, np.uint8)
    try:
        with tempfile.TemporaryFile() as file:
            os.posix_fallocate(file.fileno(), 0, int(np.prod(shape)))  # a full disk fails now
            return np.memmap(file, np.uint8, "r+", shape=shape)
    except OSError as error:
        raise EdgetlError(
            f"No room in '{tempfile.gettempdir()}' for {count} decoded pictures: {error.strerror}.",
            hint="make room there, or set TMPDIR to a larger disk.",
        ) from error
