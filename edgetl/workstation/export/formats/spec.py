"""The description of an artifact format, and of the precision its operators run in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgetl.bundle.manifest import Scheme
from edgetl.runtime.engines.spec import Files
from edgetl.runtime.preprocess import Pixels

if TYPE_CHECKING:
    from edgetl.workstation.export.graph.deploy import DeployGraph
    from edgetl.workstation.export.int8.plan import QuantizationPlan


class Operator(NamedTuple):
    """An operator of an int8 artifact, as the engine runs it on this machine.

    Attributes:
        kind: the engine's name for it, e.g. "QLinearConv".
        in_float: whether it computes in float.
        macs: multiply-accumulates of a layer with weights; 0 for other operators.
    """

    kind: str
    in_float: bool
    macs: int


class FormatSpec(NamedTuple):
    """An artifact format: the object that an entry point of "edgetl.formats" points to.

    The file that defines it must be importable without the format's libraries: the functions
    import them when they are called.

    Attributes:
        name: the name that users type, e.g. "tflite"; lower-case letters, digits and hyphens.
        suffixes: file suffixes of an artifact, in the order in which engines take the files, e.g.
            ("xml", "bin").
        schemes: the schemes it can be exported in: any of "fp32", "fp16" and "int8".
        engine: the engine that its artifacts are evaluated and measured with on the workstation.
        libraries: Python packages that must be importable to write it.
        write_float: makes the files of the float network in "fp32" or "fp16".
        write_int8: makes the files of a planned int8 network. It is given a picture, uint8
            [H, W, 3], on which the network's tensors differ enough to be matched by their values.
        operators: lists the operators that the engine runs for an int8 artifact, without those
            that only convert, move or rearrange values; None: the engine does not report them.
    """

    name: str
    suffixes: tuple[str, ...]
    schemes: tuple[Scheme, ...]
    engine: str
    libraries: tuple[str, ...]
    write_float: Callable[[DeployGraph, Scheme], Files]
    write_int8: Callable[[QuantizationPlan, Pixels], Files]
    operators: Callable[[Files], Iterable[Operator]] | None = None


class OperatorPrecision(NamedTuple):
    """The number of operators of each kind that run in float, and the share of MACs in int8."""

    float_operators: dict[str, int]
    int8_macs: float


def summarise_precision(operators: Iterable[Operator]) -> OperatorPrecision:
    """Count an int8 artifact's float operators by kind, and compute the share of MACs in int8."""
    operators = list(operators)
    total = sum(operator.macs for operator in operators)
    int8 = sum(operator.macs for operator in operators if not operator.in_float)
    kinds = Counter(operator.kind for operator in operators if operator.in_float)
    return OperatorPrecision(dict(sorted(kinds.items())), int8 / total if total else 1.0)


def layer_macs(weights: Iterable[int], places: Iterable[int]) -> int:
    """Return a layer's multiply-accumulates: each weight is used once at every output position.

    Args:
        weights: the weights' shape.
        places: the output's height and width; empty for a linear layer.
    """
    return int(np.prod([int(side) for side in weights]) * np.prod([int(side) for side in places]))
