"""What tells two pictures are the same: a hash of the file, and one of what is seen in it.

The perceptual hash is the DCT hash of Zauner, "Implementation and Benchmarking of Perceptual
Image Hash Functions" (2010), with 16 x 16 instead of 8 x 8 coefficients.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgetl.fetch.registry import sha256_of
from edgetl.runtime.preprocess import Header, decode, read_header

_GRID_PX = 32
_KEPT = 16
HASH_BITS = _KEPT * _KEPT - 1  # without the mean
HASH_BYTES = 32
# Chosen on 3,113 real pictures (waste, aerial scenes, insects), looking at the pairs. A picture
# saved again as a JPEG of quality 50 or 90, at half or 1.5 times its size, in grey, with a fifth
# more contrast or light, or cut by 1 % a side lies 2 to 30 bits from itself (95 % of each).
# Pictures of other things begin at 50 bits (two small lids on a white board), aerial ones at 80.
# All 16 pairs below 33 showed one thing twice, from one place. Classic 64-bit hashes did worse:
# 101 pairs of waste within 10 of 63 bits, most of them only alike.
NEAR_BITS = 32
# Smaller pictures differ too little for it: of Fashion-MNIST's 70,000 of 28 px, garments of one
# cut fell into groups of up to 385.
LEAST_PX = 64
# Below this many grey levels a picture shows nothing, and its hash is noise.
BLANK_CONTRAST = 1.0
# Pictures compared at a time: 16 MB of distances.
_BLOCK = 2048

Hashes = NDArray[np.uint8]


class Fingerprint(NamedTuple):
    """All that is kept of a picture, a few hundred bytes.

    Attributes:
        header: its size, mode and orientation.
        size_bytes: of the file.
        sha256: of the file, 32 bytes.
        seen: the perceptual hash, `HASH_BITS` bits in `HASH_BYTES` bytes.
        contrast: standard deviation of a 32 x 32 grey thumbnail, 0 to 128 grey levels.
    """

    header: Header
    size_bytes: int
    sha256: bytes
    seen: bytes
    contrast: float


def fingerprint(path: Path) -> Fingerprint:
    """Look at one picture: one decode, at the smallest scale its codec offers.

    Raises DataError if it cannot be read.
    """
    header = read_header(path)
    grey = decode(path, LEAST_PX).convert("L")
    small = grey.resize((_GRID_PX, _GRID_PX), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float64)
    return Fingerprint(
        header=header,
        size_bytes=path.stat().st_size,
        sha256=bytes.fromhex(sha256_of(path)),
        seen=dct_hash(pixels),
        contrast=float(pixels.std()),
    )


def dct_hash(grey: NDArray[np.float64]) -> bytes:
    """Which of the lowest DCT coefficients of a [32, 32] grey picture exceed their median."""
    low = _DCT @ grey @ _DCT.T
    coefficients = low.ravel()[1:]
    return np.packbits(coefficients > np.median(coefficients)).tobytes()


def groups_of(seen: Hashes, max_bits: int = NEAR_BITS) -> list[list[int]]:
    """Groups of two or more hashes, each near another of its group; indices in order.

    A burst of photographs is so one group, though its first and last may be further apart.

    Args:
        seen: uint8 [N, HASH_BYTES].
        max_bits: the Hamming distance that still counts as near.
    """
    # Equal hashes first, so that a thousand copies of one picture are not half a million pairs.
    different, where = np.unique(seen, axis=0, return_inverse=True)
    forest = _Forest(len(different))
    for i, j, near in _near_blocks(different, max_bits):
        # As Boruvka did: one link for each row and column, then look again, so that a block in
        # which everything is near takes a few rounds and not millions of links.
        while True:
            tops = forest.tops(i, near.shape[0])[:, None], forest.tops(j, near.shape[1])[None]
            apart = near & (tops[0] != tops[1])
            if not apart.any():
                break
            for row in np.flatnonzero(apart.any(axis=1)).tolist():
                forest.join(i + row, j + int(apart[row].argmax()))
            for column in np.flatnonzero(apart.any(axis=0)).tolist():
                forest.join(i + int(apart[:, column].argmax()), j + column)
    groups: dict[int, list[int]] = {}
    for index, kind in enumerate(where.reshape(-1).tolist()):
        groups.setdefault(forest.top(kind), []).append(index)
    return [members for members in groups.values() if len(members) > 1]


def _near_blocks(seen: Hashes, max_bits: int) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
    """(first row, first column, which are near) of every block that holds near pairs.

    All pairs are compared: with bits as -1 and 1 the Hamming distance is (bits - a . b) / 2,
    which makes a block one matrix product. 100,000 pictures take about a minute on one core.
    """
    for i in range(0, len(seen), _BLOCK):
        rows = _signs(seen[i : i + _BLOCK])
        for j in range(i, len(seen), _BLOCK):
            near = rows @ _signs(seen[j : j + _BLOCK]).T >= 8 * HASH_BYTES - 2 * max_bits
            if near.any():
                yield i, j, near


class _Forest:
    """Disjoint sets of 0 to `size` - 1, with path halving (Tarjan and van Leeuwen 1984)."""

    def __init__(self, size: int) -> None:
        self._above = list(range(size))

    def top(self, i: int) -> int:
        """What stands for the set that holds `i`."""
        above = self._above
        while above[i] != i:
            above[i] = i = above[above[i]]
        return i

    def tops(self, start: int, count: int) -> NDArray[np.int64]:
        """`top` of a run of numbers."""
        return np.array([self.top(i) for i in range(start, start + count)], dtype=np.int64)

    def join(self, a: int, b: int) -> None:
        """Make the sets of `a` and `b` one."""
        self._above[self.top(b)] = self.top(a)


def _dct_rows() -> NDArray[np.float64]:
    """The first `_KEPT` rows of the DCT-II of `_GRID_PX` points."""
    k, x = np.arange(_KEPT)[:, None], np.arange(_GRID_PX)[None]
    rows: NDArray[np.float64] = np.cos(np.pi * (2 * x + 1) * k / (2 * _GRID_PX))
    return rows


_DCT = _dct_rows()


def _signs(seen: Hashes) -> NDArray[np.float32]:
    return np.unpackbits(seen, axis=1).astype(np.float32) * 2 - 1
