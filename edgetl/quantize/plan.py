"""One int8 network, decided once, from which every format's file is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import fx

from edgetl.quantize.calibration import checked
from edgetl.quantize.equalise import equalise_channels
from edgetl.quantize.graph import Graph, Pixels, Watched, stacked
from edgetl.quantize.needs import NO_NEEDS, Needs
from edgetl.quantize.points import find_points
from edgetl.quantize.ranges import Grid, RangeObserver
from edgetl.quantize.rounding import round_weights
from edgetl.quantize.simulated import simulate


class Plan(NamedTuple):
    """What an int8 network's numbers are.

    Attributes:
        unrounded: the float network, its channels evened out.
        graph: the same with its weights on whole steps, see `round_weights`.
        grids: the nodes whose output is rounded to 8 bits, and how. A layer computes in int8 where
            both what it reads and what it answers is rounded.
        groups: for each of those nodes, by which name it shares its grid.
        needs: what the weights and grids were held to.
    """

    unrounded: Graph
    graph: Graph
    grids: Mapping[str, Grid]
    groups: Mapping[str, str]
    needs: Needs = NO_NEEDS

    def simulated(self) -> Graph:
        """The network as the engines compute it, in torch."""
        return simulate(self.graph, self.grids)

    def without(self, groups: Collection[str]) -> Plan:
        """The same network with what these groups answer left in float."""
        kept = {node: grid for node, grid in self.grids.items() if self.groups[node] not in groups}
        return self._replace(grids=kept)


def plan_by_ranges(graph: Graph, calibration: Sequence[Pixels], needs: Needs = NO_NEEDS) -> Plan:
    """Round the weights, and choose each activation's range by the calibration pictures.

    Args:
        graph: the float network, with its batch norms folded.
        calibration: uint8 [H, W, 3] pictures, exactly as the runtime would feed them.
        needs: what the device asks for. Where that is symmetric grids, the graph's pixels must be
            read about `SYMMETRIC_ZERO`.

    Raises EdgetlError where there is no picture, one is not of the graph's shape, or the network
    answers with something that is no number.
    """
    pictures = checked(calibration, graph.size)
    points = find_points(graph, pictures[0])
    ranges = _observe(graph, points, pictures[:1])  # a network that answers nonsense stops here
    even = equalise_channels(graph, pictures)
    rounded = round_weights(even, pictures, needs.weight_steps)
    ranges = _observe(rounded, points, pictures)
    make = Grid.symmetric if needs.symmetric else Grid.covering
    grids = {name: make(*ranges[group]) for name, group in points.items()}
    if graph.pixel_zero is not None:
        grids[next(iter(points))] = Grid(graph.pixel_step, graph.pixel_zero)
    return Plan(even, rounded, grids, points, needs)


def _observe(
    graph: Graph, points: Mapping[str, str], pictures: Sequence[Pixels]
) -> dict[str, tuple[float, float]]:
    """The range of each group of points on the pictures."""
    observer = RangeObserver()

    def see(node: fx.Node, value: Any) -> Any:
        if node.name in points:
            observer.see(points[node.name], value.numpy())
        return value

    for picture in pictures:
        with torch.inference_mode():
            Watched(graph.backbone, see).run(graph.normalised(stacked([picture])))
    logits = points[list(points)[-1]]
    # Logits must not be cut off: the largest are those that count.
    return observer.ranges() | {logits: observer.widest(logits)}
