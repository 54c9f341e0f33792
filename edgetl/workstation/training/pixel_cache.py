"""Pictures decoded once, by the device's own code, and cached for all later epochs and runs.

Each preprocessing has one file of rows (uint8 [size, size, 3] each, back to back) in edgetl's
cache, and an index that names each row's picture by a hash of its path, size and modification
time. Rows are only ever appended, under a lock, so that runs can share the file while it grows.

The processes of a machine that train together each decode a share of the missing pictures first,
and take the lock only to append what they have decoded.
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
from edgetl.core.progress import Progress, Stage
from edgetl.data.folders import Example, Unreadable
from edgetl.data.reading import read_pixels
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.training.distributed.progress import shared_stage
from edgetl.workstation.training.distributed.ranks import ALONE, Ranks

# Pictures may take this fraction of a GPU's free memory; the rest is for training.
_SHARE_OF_GPU = 0.4
# The index is written after this many new rows, the most that an interruption loses.
_COMMIT_EVERY = 4096
# A process that decodes a share appends its rows once it holds this many bytes of them.
_HELD_BYTES = 256 << 20
# Raised when edgetl's decoding changes, so that rows of an older version are not used.
_VERSION = "1"


class PixelSet:
    """Decoded pictures and their labels: uint8 [N, S, S, 3] and int64 [N].

    `rows` gives each picture's row in `pixels`; None: they are in the same order.
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
        """Side of the pictures, in px."""
        return int(self.pixels.shape[1])

    @property
    def resident(self) -> torch.Tensor | None:
        """All pictures in order, uint8 [N, S, S, 3], on the GPU; None unless `move_to` ran."""
        return self._resident

    def tensor(self, chosen: NDArray[np.int64], device: torch.device) -> torch.Tensor:
        """The pictures of some indices, int64 [n], as uint8 [n, S, S, 3] on a device."""
        if self._resident is not None and self._resident.device == device:
            return self._resident[torch.from_numpy(chosen).to(device, non_blocking=True)]
        return torch.from_numpy(self.pixels[self._rows[chosen]]).to(device)

    def take(self, chosen: NDArray[np.int64]) -> "PixelSet":
        """The pictures of some indices, int64 [n], as a set of their own; copies no pixels."""
        return PixelSet(self.pixels, self.labels[chosen], self._rows[chosen])

    def move_to(self, device: torch.device, free_bytes: int) -> bool:
        """Copy all pictures to a GPU and keep them there, so that no step waits for a copy.

        Args:
            device: the GPU.
            free_bytes: its free memory, of which pictures may take 40 %.

        Returns False, without copying, if the pictures take more than that.
        """
        if self._resident is None:
            if len(self) * self.pixels[0].nbytes > _SHARE_OF_GPU * free_bytes:
                return False
            self._resident = torch.from_numpy(self.pixels[self._rows]).to(device)
        return True


def decode_all(
    examples: Sequence[Example],
    spec: Preprocess,
    progress: Progress,
    *,
    stage: str,
    ranks: Ranks = ALONE,
) -> tuple[PixelSet, list[Example], list[Unreadable]]:
    """Decode pictures, or take them from the cache; unreadable ones are left out.

    Returns the pixels, the examples they belong to (in order), and the unreadable ones.
    Raises DataError if none can be read, EdgetlError if the cache is full or cannot be written.
    """
    names = [picture_identity(example.path) for example in examples]
    if ranks.several:
        with _cache_errors(spec, len(examples)):
            wanted = dict(zip(names, examples, strict=True))
            _decode_in_shares(_rows_folder(spec), wanted, spec, progress, stage, ranks)
    with _cache_errors(spec, len(examples)), _Rows(_rows_folder(spec), spec) as rows:
        unreadable = _decode_missing(
            rows, dict(zip(names, examples, strict=True)), spec, progress, stage
        )
        pixels = rows.pixels()
    readable = [(e, rows.index[name]) for e, name in zip(examples, names, strict=True)
            if name in rows.index]  # fmt: skip
    if not readable:
        raise DataError(f"None of the {len(examples)} pictures can be read.")
    labels = np.array([example.label for example, _ in readable], dtype=np.int64)
    row_numbers = np.array([row for _, row in readable], dtype=np.int64)
    return PixelSet(pixels, labels, row_numbers), [example for example, _ in readable], unreadable


def picture_identity(path: Path) -> str:
    """A hash of a picture's path, size and modification time."""
    try:
        facts = path.stat()
        identity = f"{path.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}"
    except OSError:  # missing or inaccessible: decoding it reports the error
        identity = str(path)
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def _rows_folder(spec: Preprocess) -> Path:
    """The folder of a preprocessing's rows, which do not depend on its normalisation."""
    facts = f"{_VERSION} {spec.size_px} {spec.resize} {spec.crop}"
    name = f"{spec.size_px}px-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"
    return cache_folder() / "pixels" / name


class _Rows:
    """The rows of one preprocessing, open for appending."""

    def __init__(self, folder: Path, spec: Preprocess) -> None:
        make_folder(folder)
        self._folder = folder
        self._shape = (spec.size_px, spec.size_px, 3)
        self._row_bytes = spec.size_px * spec.size_px * 3
        self.index: dict[str, int] = {}

    def __enter__(self) -> "_Rows":
        self._lock: IO[bytes] = (self._folder / "lock").open("ab")
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # wait while another run decodes
        path = self._folder / "rows.u8"
        self.index = self._read_index(path)
        if not self.index:
            path.unlink(missing_ok=True)  # not truncated: another run may have mapped it
        self._file = path.open("ab")
        # Bytes after the last indexed row are left from an interrupted run.
        self._file.truncate(len(self.index) * self._row_bytes)
        return self

    def __exit__(self, *_: object) -> None:
        # On a full disk, writing what is still buffered fails again.
        with self._lock, suppress(OSError):
            self._file.close()

    def _read_index(self, rows: Path) -> dict[str, int]:
        """The row of each picture; empty if the index is missing, damaged, or lists too many."""
        try:
            text = (self._folder / "index.json").read_bytes()
            names = msgspec.json.decode(text, type=list[str])
            whole = rows.stat().st_size >= len(names) * self._row_bytes
        except (OSError, ValueError):  # ValueError: not JSON or not UTF-8
            return {}
        index = {name: row for row, name in enumerate(names)}
        return index if whole and len(index) == len(names) else {}

    def add(self, name: str, pixels: Pixels) -> None:
        """Append one picture. Raises OSError if the disk is full."""
        self._file.write(pixels.tobytes())
        self.index[name] = len(self.index)

    def commit(self) -> None:
        """Write the index, so that later runs find the rows added so far."""
        self._file.flush()
        with atomic_write(self._folder / "index.json") as file:
            file.write(msgspec.json.encode(list(self.index)))

    def pixels(self) -> Pixels:
        """All rows so far, memory-mapped: uint8 [rows, size, size, 3]."""
        if not self.index:
            return np.empty((0, *self._shape), np.uint8)
        shape = (len(self.index), *self._shape)
        return np.memmap(self._folder / "rows.u8", np.uint8, "r", shape=shape)


def _decode_missing(
    rows: _Rows, wanted: dict[str, Example], spec: Preprocess, progress: Progress, stage: str
) -> list[Unreadable]:
    """Decode the pictures that are not cached yet; returns the unreadable ones."""
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


def _decode_in_shares(
    folder: Path,
    wanted: dict[str, Example],
    spec: Preprocess,
    progress: Progress,
    stage: str,
    ranks: Ranks,
) -> None:
    """Decode this process's share of the missing pictures; returns when all shares are done.

    Unreadable pictures stay missing.
    """
    with _Rows(folder, spec) as rows:
        missing = [(name, e) for name, e in wanted.items() if name not in rows.index]
    ranks.gather(None)  # nobody adds rows before all have seen what is missing
    own = missing[ranks.local_rank :: ranks.local_count]
    if shutil.disk_usage(cache_folder()).free < _bytes(spec, len(missing)):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    at_once = max(1, _HELD_BYTES // _bytes(spec, 1))
    if missing:
        with shared_stage(progress, stage, len(missing), ranks) as shown:
            for start in range(0, len(own), at_once):
                _add_decoded(folder, dict(own[start : start + at_once]), spec, shown)
    ranks.gather(None)


def _add_decoded(folder: Path, some: dict[str, Example], spec: Preprocess, shown: Stage) -> None:
    """Decode some pictures, and append them together."""
    decoded = {}
    for name, (_, outcome) in zip(some, read_pixels(list(some.values()), spec), strict=True):
        if not isinstance(outcome, DataError):
            decoded[name] = outcome
        shown.advance()
    with _Rows(folder, spec) as rows:
        for name, pixels in decoded.items():
            if name not in rows.index:  # another run may have added it
                rows.add(name, pixels)
        rows.commit()


def _bytes(spec: Preprocess, count: int) -> int:
    return count * spec.size_px * spec.size_px * 3


@contextmanager
def _cache_errors(spec: Preprocess, count: int) -> Iterator[None]:
    """Turn the errors of a full or unwritable cache into one that says what to do."""
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
