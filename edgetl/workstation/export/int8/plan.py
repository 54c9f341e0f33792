"""The plan of an int8 network, made once, from which every format's files are written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import fx

from edgetl.core.errors import EdgetlError
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.graph.nodes import NodeObserver, stacked
from edgetl.workstation.export.int8.constraints import NO_CONSTRAINTS, QuantizationConstraints
from edgetl.workstation.export.int8.equalization import equalize_channels
from edgetl.workstation.export.int8.fake_quantize import fake_quantize
from edgetl.workstation.export.int8.quantization_points import find_points
from edgetl.workstation.export.int8.ranges import QuantParams, RangeObserver
from edgetl.workstation.export.int8.rounding import round_weights


class QuantizationPlan(NamedTuple):
    """The weights and quantization parameters of an int8 network.

    Attributes:
        unrounded: the float network with its channels equalized.
        graph: the same with its weights on whole steps, see `round_weights`.
        params: quantization parameters of the nodes whose output is rounded to 8 bits. A layer
            computes in int8 if both its input and its output are rounded.
        groups: for each node that may be rounded, the name of the group that shares its params.
        constraints: the constraints that the weights and params fulfil.
    """

    unrounded: DeployGraph
    graph: DeployGraph
    params: Mapping[str, QuantParams]
    groups: Mapping[str, str]
    constraints: QuantizationConstraints = NO_CONSTRAINTS

    def fake_quantized(self) -> DeployGraph:
        """Return the network in torch, with its values rounded as the engines round them."""
        return fake_quantize(self.graph, self.params)

    def without(self, groups: Collection[str]) -> QuantizationPlan:
        """Return the same network with the outputs of these groups left in float."""
        remaining = {
            node: params for node, params in self.params.items() if self.groups[node] not in groups
        }
        return self._replace(params=remaining)


def plan_by_ranges(
    graph: DeployGraph,
    calibration: Sequence[Pixels],
    constraints: QuantizationConstraints = NO_CONSTRAINTS,
) -> QuantizationPlan:
    """Round the weights, and choose each activation's range on the calibration pictures.

    Args:
        graph: the float network, with its batch norms folded.
        calibration: uint8 [H, W, 3] pictures, preprocessed exactly as by the runtime.
        constraints: what the device's kernels require. If they are symmetric, the graph's
            `pixel_zero` must be `SYMMETRIC_ZERO`.

    Raises EdgetlError if there is no picture, one is not of the graph's shape, or the network
    computes a value that is not finite.
    """
    pictures = _checked(calibration, graph.size)
    points = find_points(graph, pictures[0])
    ranges = _observe(graph, points, pictures[:1])  # fails early if values are not finite
    even = equalize_channels(graph, pictures)
    rounded = round_weights(even, pictures, constraints.weight_steps)
    ranges = _observe(rounded, points, pictures)
    make_params = QuantParams.symmetric if constraints.symmetric else QuantParams.covering
    params = {name: make_params(*ranges[group]) for name, group in points.items()}
    if graph.pixel_zero is not None:
        params[next(iter(points))] = QuantParams(graph.pixel_step, graph.pixel_zero)
    return QuantizationPlan(even, rounded, params, points, constraints)


def _observe(
    graph: DeployGraph, points: Mapping[str, str], pictures: Sequence[Pixels]
) -> dict[str, tuple[float, float]]:
    """Choose the range of each group of points on the pictures."""
    observer = RangeObserver()

    def see(node: fx.Node, value: Any) -> Any:
        if node.name in points:
            observer.see(points[node.name], value.numpy())
        return value

    for picture in pictures:
        with torch.inference_mode():
            NodeObserver(graph.backbone, see).run(graph.normalised(stacked([picture])))
    logits = points[list(points)[-1]]
    # Logits must not be clipped: the largest decide the predicted class.
    return observer.ranges() | {logits: observer.widest(logits)}


def _checked(calibration: Sequence[Pixels], size: tuple[int, int]) -> list[Pixels]:
    """Check the pictures, and return them as a list, uint8 [H, W, 3] each.

    Args:
        calibration: pictures, preprocessed exactly as by the runtime.
        size: the network's H and W.

    Raises:
        EdgetlError: there is no picture, or one is not of the network's shape and type.
    """
    if not calibration:
        raise EdgetlError(
            "There are no calibration pictures; int8 needs some to choose its ranges.",
            hint="Pass a few dozen pictures or more, of the kind the device will see.",
        )
    expected = (*size, 3)
    for index, picture in enumerate(calibration):
        if picture.shape != expected or picture.dtype != np.uint8:
            raise EdgetlError(
                f"Calibration picture {index} is {picture.dtype} {list(picture.shape)}; "
                f"the model takes uint8 {list(expected)}.",
                hint="Prepare calibration pictures with the runtime's own preprocessing.",
            )
    return list(calibration)
