"""Adaptive pooling written as arithmetic that every format has."""

from __future__ import annotations

import math

import torch
from torch import Tensor, fx, nn

from edgetl.workstation.export.graph.shapes import maps_read, modules_of_kind


class EvenBins(nn.Module):
    """Average pooling into bins of uneven size: pixels are repeated until all bins are even.

    Input float32 [N, C, H, W], output [N, C, *bins]; the same numbers as `AdaptiveAvgPool2d`. The
    repetition moves values and computes nothing, so int8 loses nothing by it.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, size: tuple[int, int], bins: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("rows", _repeated(size[0], bins[0]))
        self.register_buffer("columns", _repeated(size[1], bins[1]))
        self.pool = nn.AvgPool2d((len(self.rows) // bins[0], len(self.columns) // bins[1]))

    def forward(self, maps: Tensor) -> Tensor:
        """Average over each bin."""
        even = maps.index_select(2, self.rows).index_select(3, self.columns)
        pooled: Tensor = self.pool(even)
        return pooled


def write_out_pools(traced: fx.GraphModule, size: tuple[int, int]) -> None:
    """Replace, in place, adaptive pools that the formats have no operator for.

    Those to one bin are plain means, and those whose bins are all of one size plain pools: they
    stay. VGG16's 7 x 7 bins at any picture size but multiples of 224 px are neither.

    Args:
        traced: takes float32 [1, 3, H, W].
        size: H and W.
    """
    found = modules_of_kind(traced, nn.AdaptiveAvgPool2d)
    pools = {node: pool for node, pool in found.items() if pool.output_size not in (1, (1, 1))}
    read = maps_read(traced, size, pools)
    for node, pool in pools.items():
        height, width = read[node]
        wanted = pool.output_size
        rows, columns = wanted if isinstance(wanted, tuple) else (wanted, wanted)
        bins = (rows or height, columns or width)  # None keeps a side as long as it is
        if height % bins[0] or width % bins[1]:
            traced.set_submodule(str(node.target), EvenBins((height, width), bins))


def _repeated(length: int, bins: int) -> Tensor:
    """int64 indices: bin i's pixels, floor(i n / b) to ceil((i + 1) n / b), equally often each."""
    edges = [(i * length // bins, -(-(i + 1) * length // bins)) for i in range(bins)]
    most = math.lcm(*(stop - start for start, stop in edges))
    pixels = [torch.arange(start, stop) for start, stop in edges]
    return torch.cat([bin_.repeat_interleave(most // len(bin_)) for bin_ in pixels])
