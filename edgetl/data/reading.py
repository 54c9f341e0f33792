"""Decode many pictures in threads, with the same code as on the device."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.errors import DataError
from edgetl.data.folders import Example
from edgetl.runtime.preprocess import Pixels, load_pixels

# How many pictures are read ahead: enough to keep every core busy while one picture is slow.
_AHEAD = 64
Result = TypeVar("Result")


def read_pixels(
    examples: Sequence[Example], spec: Preprocess
) -> Iterator[tuple[Example, Pixels | DataError]]:
    """Decode, resize and crop pictures, in order, as `load_pixels` does.

    Yields each example with its pixels, uint8 RGB [size, size, 3], or with the DataError that says
    why it cannot be read.
    """
    return read_each(examples, lambda path: load_pixels(path, spec))


def read_each(
    examples: Sequence[Example], read_file: Callable[[Path], Result]
) -> Iterator[tuple[Example, Result | DataError]]:
    """Call `read_file` on each example's path, in threads.

    Decoding releases the interpreter's lock, so threads are enough to use every core. At most
    `_AHEAD` results are held in memory.

    Yields each example, in order, with the result or with the DataError that was raised.
    """

    def read(example: Example) -> Result | DataError:
        try:
            return read_file(example.path)
        except DataError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: deque[tuple[Example, Future[Result | DataError]]] = deque()
        try:
            for example in examples:
                waiting.append((example, pool.submit(read, example)))
                if len(waiting) >= _AHEAD:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:  # the caller may stop before the end
            for _, future in waiting:
                future.cancel()
