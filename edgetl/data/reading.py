"""Decoding many pictures by the device's own code, ahead of whoever consumes them."""

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

# Pictures that are being read or wait to be taken: a core never idles while one of them is slow.
_AHEAD = 64
Taken = TypeVar("Taken")


def read_pixels(
    examples: Sequence[Example], spec: Preprocess
) -> Iterator[tuple[Example, Pixels | DataError]]:
    """Each example with its pixels, uint8 [size, size, 3], or why it cannot be read."""
    return read_each(examples, lambda path: load_pixels(path, spec))


def read_each(
    examples: Sequence[Example], take: Callable[[Path], Taken]
) -> Iterator[tuple[Example, Taken | DataError]]:
    """Each example, in order, with what `take` makes of its file, or the DataError it raised.

    Decoding releases the interpreter's lock, so threads are enough to use every core; what waits
    in memory is bounded.
    """

    def read(example: Example) -> Taken | DataError:
        try:
            return take(example.path)
        except DataError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: deque[tuple[Example, Future[Taken | DataError]]] = deque()
        try:
            for example in examples:
                waiting.append((example, pool.submit(read, example)))
                if len(waiting) >= _AHEAD:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:  # whoever reads may stop early
            for _, future in waiting:
                future.cancel()
