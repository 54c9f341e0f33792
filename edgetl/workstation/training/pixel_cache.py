"""Pictures decoded once, by the device's own code, and kept for every later epoch and run.

Each preprocessing has one file of rows (uint8 [size, size, 3] each, back to back) in edgetl's
cache, and an index of whose rows they are: a picture is known by its path, size and time of
change. Rows are only ever added, under a lock, so that runs may share the file while it grows.
"""

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.errors import DataError, EdgetlError
from edgetl.core.files import atomic_write, cache_folder, make_folder
from edgetl.core.progress import Progress
from edgetl.data.folders import Example, Unreadable
from edgetl.data.reading import read_pixels
from edgetl.runtime.preprocess import Pixels

# Of a GPU's free memory, at most this much goes to pictures; the rest is for training.
_SHARE_OF_GPU = 0.4
# Rows written before the index is: what an interruption loses.
_COMMIT_EVERY = 4096
# Decoding changes with edgetl's own code: a new number leaves old rows alone.
_VERSION = "1"


class PixelSet:
    """Decoded pictures and their labels: uint8 [N, S, S, 3] and int64 [N].

    `rows` says where in `pixels` each picture is; None: in order.
    """

    def __init__(
        self,
        pixels: Pixels,
        labels: NDArray[np.int64],
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        self.pixels = pixels
        self.labels = labels
        self._rows = np.arange(len(labels)) if rows is None else rows
        self._resident: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size_px(self) -> int:
        """Side of the pictures."""
        return int(self.pixels.shape[1])

    @property
    def resident(self) -> torch.Tensor | None:
        """All pictures in order, uint8 [N, S, S, 3], on the GPU where `move_to` put them there."""
        return self._resident

    def tensor(self, chosen: NDArray[np.int64], device: torch.device) -> torch.Tensor:
        """Some of the pictures, uint8 [n, S, S, 3], on a device."""
        if self._resident is not None and self._resident.device == device:
            return self._resident[torch.from_numpy(chosen).to(device, non_blocking=True)]
        return torch.from_numpy(self.pixels[self._rows[chosen]]).to(device)

    def move_to(self, device: torch.device, free_bytes: int) -> bool:
        """Keep all pictures on a GPU, so that no step waits for a copy.

        Args:
            device: the GPU.
            free_bytes: its free memory; most of it is left for training.

        Returns False, and leaves the pictures where they are, if they take too much of that.
        """
        if self._resident is None:
            if len(self) * self.pixels[0].nbytes > _SHARE_OF_GPU * free_bytes:
                return False
            self._resident = torch.from_numpy(self.pixels[self._rows]).to(device)
        return True


def decode_all(
    examples: Sequence[Example], spec: Preprocess, progress: Progress, *, stage: str
) -> tuple[PixelSet, list[Example], list[Unreadable]]:
    """Every picture's pixels, decoded now or by an earlier run; unreadable ones are set aside.

    Returns the pixels, the examples they belong to (in order), and the unreadable ones.
    Raises DataError if none can be read, EdgetlError if the cache cannot take them.
    """
    names = [_identity(example.path) for example in examples]
    with _refusals(spec, len(examples)), _Rows(_place(spec), spec) as rows:
        unreadable = _fill(rows, dict(zip(names, examples, strict=True)), spec, progress, stage)
        pixels = rows.pixels()
    kept = [(e, rows.index[name]) for e, name in zip(examples, names, strict=True)
            if name in rows.index]  # fmt: skip
    if not kept:
        raise DataError(f"None of the {len(examples)} pictures can be read.")
    labels = np.array([example.label for example, _ in kept], dtype=np.int64)
    where = np.array([row for _, row in kept], dtype=np.int64)
    return PixelSet(pixels, labels, where), [example for example, _ in kept], unreadable


def _identity(path: Path) -> str:
    """A picture's path, size and time of change, as one short name."""
    try:
        facts = path.stat()
        said = f"{path.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}"
    except OSError:  # gone or out of reach: reading it will say so
        said = str(path)
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def _place(spec: Preprocess) -> Path:
    """The folder of a preprocessing's rows. Normalisation comes after, so it does not count."""
    facts = f"{_VERSION} {spec.size_px} {spec.resize} {spec.crop}"
    name = f"{spec.size_px}px-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"
    return cache_folder() / "pixels" / name


class _Rows:
    """The rows of one preprocessing, open for adding."""

    def __init__(self, folder: Path, spec: Preprocess) -> None:
        make_folder(folder)
        self._folder = folder
        self._shape = (spec.size_px, spec.size_px, 3)
        self._row_bytes = spec.size_px * spec.size_px * 3
        self.index: dict[str, int] = {}

    def __enter__(self) -> "_Rows":
        self._lock: IO[bytes] = (self._folder / "lock").open("ab")
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # another run that decodes is waited for
        path = self._folder / "rows.u8"
        self.index = self._read_index(path)
        if not self.index:
            path.unlink(missing_ok=True)  # never emptied: another run may have it mapped
        self._file = path.open("ab")
        # What lies behind the last known row was cut off in the writing.
        self._file.truncate(len(self.index) * self._row_bytes)
        return self

    def __exit__(self, *_: object) -> None:
        # On a full disk what is still buffered cannot be written now either.
        with self._lock, suppress(OSError):
            self._file.close()

    def _read_index(self, rows: Path) -> dict[str, int]:
        """Which row is whose; empty where the index is missing, damaged, or names too many."""
        try:
            text = (self._folder / "index.json").read_bytes()
            names = msgspec.json.decode(text, type=list[str])
            whole = rows.stat().st_size >= len(names) * self._row_bytes
        except (OSError, ValueError):  # ValueError: neither JSON nor even UTF-8
            return {}
        index = {name: row for row, name in enumerate(names)}
        return index if whole and len(index) == len(names) else {}

    def add(self, name: str, pixels: Pixels) -> None:
        """Append one picture. Raises OSError where the disk is full."""
        self._file.write(pixels.tobytes())
        self.index[name] = len(self.index)

    def commit(self) -> None:
        """Make the rows added so far known to later runs."""
        self._file.flush()
        with atomic_write(self._folder / "index.json") as file:
            file.write(msgspec.json.encode(list(self.index)))

    def pixels(self) -> Pixels:
        """All rows as they are now: uint8 [rows, size, size, 3], paged in by the system."""
        if not self.index:
            return np.empty((0, *self._shape), np.uint8)
        shape = (len(self.index), *self._shape)
        return np.memmap(self._folder / "rows.u8", np.uint8, "r", shape=shape)


def _fill(
    rows: _Rows, wanted: dict[str, Example], spec: Preprocess, progress: Progress, stage: str
) -> list[Unreadable]:
    """Decode what is not there yet."""
    missing = {name: e for name, e in wanted.items() if name not in rows.index}
    if not missing:
        return []
    unreadable: list[Unreadable] = []
    if shutil.disk_usage(cache_folder()).free < _bytes(spec, len(missing)):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with progress.stage(stage, len(missing), "pictures") as shown:
        decoded = read_pixels(list(missing.values()), spec)
        for count, (name, (example, outcome)) in enumerate(zip(missing, decoded, strict=True), 1):
            if isinstance(outcome, DataError):
                unreadable.append(Unreadable(example.path, str(outcome)))
            else:
                rows.add(name, outcome)
            if count % _COMMIT_EVERY == 0:
                rows.commit()
            shown.advance()
        rows.commit()
    return unreadable


def _bytes(spec: Preprocess, count: int) -> int:
    return count * spec.size_px * spec.size_px * 3


@contextmanager
def _refusals(spec: Preprocess, count: int) -> Iterator[None]:
    """Says what can be done about a cache that is full or may not be written."""
    try:
        yield
    except (OSError, EdgetlError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        folder = cache_folder()
        raise EdgetlError(
            f"'{folder}' cannot take {count} decoded pictures "
            f"({_bytes(spec, count) / 1e9:.1f} GB): {getattr(cause, 'strerror', cause)}.",
            hint=f"make room or permission there ('{folder / 'pixels'}' may be deleted at any "
            "time), or set EDGETL_CACHE to a folder on another disk.",
        ) from error
