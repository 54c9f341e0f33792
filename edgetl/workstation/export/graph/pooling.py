"""Replaces adaptive pooling by operators that every format has."""

from __future__ import annotations

import math

import torch
from torch import Tensor, fx, nn

from edgetl.workstation.export.graph.shapes import maps_read, modules_of_kind


class EvenBins(nn.Module):
    """Average pooling into bins of unequal size: pixels are repeated until all bins are equal.

    Input float32 [N, C, H, W], output [N, C, *bins]; the same numbers as `AdaptiveAvgPool2d`. The
    repetition only copies values, so it is exact in int8.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, size: tuple[int, int], bins: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("rows", _repeated(size[0], bins[0]))
        self.register_buffer("columns", _repeated(size[1], bins[1]))
        self.pool = nn.AvgPool2d((len(self.rows) // bins[0], len(self.columns) // bins[1]))

    def forward(self, maps: Tensor) -> Tensor:
        """Map float32 [N, C, H, W] to the average of each bin, [N, C, *bins]."""
        even = maps.index_select(2, self.rows).index_select(3, self.columns)
        pooled: Tensor = self.pool(even)
        return pooled


# Part of the names of tensors in TFLite files, as in `DeployGraph`.
EvenBins.__module__ = "edgetl.export.pooling"


def write_out_pools(traced: fx.GraphModule, size: tuple[int, int]) -> None:
    """Replace, in place, adaptive pools that the formats have no operator for.

    Pools to one bin are plain means, and pools whose bins all have one size are plain average
    pools: these stay. VGG16's 7 x 7 bins are neither unless the picture size is a multiple of
    224 px.

    Args:
        traced: takes float32 [1, 3, H, W].
        size: H and W of the input.
    """
    adaptive = modules_of_kind(traced, nn.AdaptiveAvgPool2d)
    pools = {node: pool for node, pool in adaptive.items() if pool.output_size not in (1, (1, 1))}
    read = maps_read(traced, size, pools)
    for node, pool in pools.items():
        height, width = read[node]
        target = pool.output_size
        rows, columns = target if isinstance(target, tuple) else (target, target)
        bins = (rows or height, columns or width)  # None: this side keeps its length
        if height % bins[0] or width % bins[1]:
            traced.set_submodule(str(node.target), EvenBins((height, width), bins))


def _repeated(length: int, bins: int) -> Tensor:
    """Return int64 indices of the pixels of bins, repeated so that all bins are equally long.

    Of b bins over n pixels, bin i covers floor(i n / b) to ceil((i + 1) n / b).
    """
    edges = [(i * length // bins, -(-(i + 1) * length // bins)) for i in range(bins)]
    most = math.lcm(*(stop - start for start, stop in edges))
    pixels = [torch.arange(start, stop) for start, stop in edges]
    return torch.cat([bin_.repeat_interleave(most // len(bin_)) for bin_ in pixels])
