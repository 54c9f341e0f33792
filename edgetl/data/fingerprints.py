"""Hashes by which copies of a picture are found: one of the file, one of what it shows.

The perceptual hash is the DCT hash of Zauner, "Implementation and Benchmarking of Perceptual
Image Hash Functions" (2010), with 16 x 16 instead of 8 x 8 coefficients.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgetl.core.files import sha256_of
from edgetl.runtime.preprocess import Header, decode, read_header

_GRID_PX = 32
_COEFFICIENTS = 16
HASH_BITS = _COEFFICIENTS * _COEFFICIENTS - 1  # the first coefficient is the mean: left out
HASH_BYTES = 32
# Two hashes that differ in at most this many bits count as near-identical. Chosen by inspecting
# pairs among 3,113 real pictures (waste, aerial scenes, insects):
# - An altered copy (JPEG quality 50 or 90, half or 1.5 times the size, grey, 20 % more contrast or
#   brightness, 1 % cropped from each side) differs from its original in 2 to 30 bits, in 95 % of
#   the copies of each kind.
# - Pictures of different things differ in 50 bits or more (two small lids on a white board), aerial
#   scenes in 80 or more.
# - All 16 pairs that differ in fewer than 33 bits show the same thing from the same position.
# Classic 64-bit hashes separate them less well: 101 pairs of waste pictures differ in at most 10 of
# 63 bits, and most of these show different things.
NEAR_BITS = 32
# Smaller pictures have too little detail for the hash: among Fashion-MNIST's 70,000 pictures of
# 28 px, different garments of similar shape formed groups of up to 385.
MIN_SIDE_PX = 64
# A standard deviation in grey levels. A picture below it shows nothing, and its hash is noise.
BLANK_CONTRAST = 1.0
# Pictures compared at a time; a block of float32 distances takes 16 MB.
_BLOCK = 2048

Hashes = NDArray[np.uint8]


class Fingerprint(NamedTuple):
    """What `edgetl check` remembers of a picture: a few hundred bytes.

    Attributes:
        header: its size, mode and orientation.
        size_bytes: the size of the file.
        sha256: the hash of the file, 32 bytes.
        perceptual_hash: `HASH_BITS` bits in `HASH_BYTES` bytes, from `dct_hash`.
        contrast: standard deviation of a 32 x 32 grey thumbnail, 0 to 128 grey levels.
    """

    header: Header
    size_bytes: int
    sha256: bytes
    perceptual_hash: bytes
    contrast: float


def fingerprint(path: Path) -> Fingerprint:
    """Decode one picture at the smallest scale its codec offers, and hash it.

    Raises DataError if it cannot be read.
    """
    header = read_header(path)
    grey = decode(path, MIN_SIDE_PX).convert("L")
    small = grey.resize((_GRID_PX, _GRID_PX), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float64)
    return Fingerprint(
        header=header,
        size_bytes=path.stat().st_size,
        sha256=bytes.fromhex(sha256_of(path)),
        perceptual_hash=dct_hash(pixels),
        contrast=float(pixels.std()),
    )


def dct_hash(grey: NDArray[np.float64]) -> bytes:
    """The perceptual hash of a grey picture, float64 [32, 32].

    Each bit says whether one of the 255 lowest DCT coefficients, without the mean, exceeds their
    median. Returns `HASH_BYTES` bytes; the last bit is 0.
    """
    low = _DCT @ grey @ _DCT.T
    coefficients = low.ravel()[1:]
    return np.packbits(coefficients > np.median(coefficients)).tobytes()


def groups_of(hashes: Hashes, max_bits: int = NEAR_BITS) -> list[list[int]]:
    """Group near-identical hashes: single-linkage clusters of two or more.

    Each member is near at least one other member, not necessarily all: a burst of photographs
    forms one group even if its first and last picture differ more than `max_bits`.

    Args:
        hashes: uint8 [N, HASH_BYTES].
        max_bits: the largest Hamming distance that counts as near.

    Returns the indices of each group's members, ascending.
    """
    # Equal hashes are merged first: 1,000 copies of a picture would be half a million pairs.
    unique, inverse = np.unique(hashes, axis=0, return_inverse=True)
    sets = _DisjointSets(len(unique))
    for i, j, near in _near_blocks(unique, max_bits):
        # As in Boruvka's algorithm: join one pair for each row and column, then see which pairs
        # are still in different sets. A block in which all pairs are near thus takes a few rounds
        # rather than millions of joins.
        while True:
            roots = sets.roots(i, near.shape[0])[:, None], sets.roots(j, near.shape[1])[None]
            apart = near & (roots[0] != roots[1])
            if not apart.any():
                break
            for row in np.flatnonzero(apart.any(axis=1)).tolist():
                sets.join(i + row, j + int(apart[row].argmax()))
            for column in np.flatnonzero(apart.any(axis=0)).tolist():
                sets.join(i + int(apart[:, column].argmax()), j + column)
    groups: dict[int, list[int]] = {}
    for index, position in enumerate(inverse.reshape(-1).tolist()):
        groups.setdefault(sets.root(position), []).append(index)
    return [members for members in groups.values() if len(members) > 1]


def _near_blocks(hashes: Hashes, max_bits: int) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
    """Compare all pairs in blocks; yields the blocks that hold near pairs.

    With bits as -1 and 1 the Hamming distance is (bits - a . b) / 2, so a block is one matrix
    product. 100,000 pictures take about a minute on one core.

    Yields (first row, first column, bool [rows, columns]: which pairs are near).
    """
    for i in range(0, len(hashes), _BLOCK):
        rows = _signs(hashes[i : i + _BLOCK])
        for j in range(i, len(hashes), _BLOCK):
            near = rows @ _signs(hashes[j : j + _BLOCK]).T >= 8 * HASH_BYTES - 2 * max_bits
            if near.any():
                yield i, j, near


class _DisjointSets:
    """Disjoint sets of 0 to `size` - 1, with path halving (Tarjan and van Leeuwen 1984)."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def root(self, i: int) -> int:
        """The representative of the set that contains `i`."""
        parent = self._parent
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    def roots(self, start: int, count: int) -> NDArray[np.int64]:
        """The roots of `count` consecutive numbers, int64 [count]."""
        return np.array([self.root(i) for i in range(start, start + count)], dtype=np.int64)

    def join(self, a: int, b: int) -> None:
        """Merge the sets of `a` and `b`."""
        self._parent[self.root(b)] = self.root(a)


def _dct_rows() -> NDArray[np.float64]:
    """The first `_COEFFICIENTS` rows of the DCT-II matrix of `_GRID_PX` points."""
    k, x = np.arange(_COEFFICIENTS)[:, None], np.arange(_GRID_PX)[None]
    rows: NDArray[np.float64] = np.cos(np.pi * (2 * x + 1) * k / (2 * _GRID_PX))
    return rows


_DCT = _dct_rows()


def _signs(hashes: Hashes) -> NDArray[np.float32]:
    """The bits of hashes as -1 and 1, float32 [N, 8 * HASH_BYTES]."""
    return np.unpackbits(hashes, axis=1).astype(np.float32) * 2 - 1
