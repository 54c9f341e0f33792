"""What edgetl knows of an artifact format."""

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
        kind: as the engine names it, e.g. "QLinearConv".
        in_float: whether it computes in float.
        macs: multiply-accumulates of a layer with weights; 0 for other operators.
    """

    kind: str
    in_float: bool
    macs: int


class FormatSpec(NamedTuple):
    """An artifact format: the object of an entry point of "edgetl.formats".

    The file that defines it must be importable where its libraries are not installed: the
    functions import them when they are called.

    Attributes:
        name: what users type, e.g. "tflite"; lower-case letters, digits and hyphens.
        suffixes: of an artifact's files, in the order in which engines take them, e.g. ("xml",
            "bin").
        schemes: what it can be exported in: "fp32", "fp16" and "int8".
        engine: the engine that its artifacts are tried and measured with on the workstation.
        libraries: Python packages that must be importable to write it.
        write_float: makes the files of the float network in "fp32" or "fp16".
        write_int8: makes the files of a planned int8 network. The picture, uint8 [H, W, 3], is one
            by which tensors can be told apart.
        operators: what an int8 artifact's engine runs; None: that cannot be looked into.
            Operators that only convert, move or rearrange values are left out.
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
    """Which operators run in float, by kind and number, and the layers' share of MACs in int8."""

    float_operators: dict[str, int]
    int8_macs: float


def summarise_precision(operators: Iterable[Operator]) -> OperatorPrecision:
    """What of an int8 artifact is computed in int8."""
    operators = list(operators)
    total = sum(operator.macs for operator in operators)
    whole = sum(operator.macs for operator in operators if not operator.in_float)
    kinds = Counter(operator.kind for operator in operators if operator.in_float)
    return OperatorPrecision(dict(sorted(kinds.items())), whole / total if total else 1.0)


def layer_macs(weights: Iterable[int], places: Iterable[int]) -> int:
    """A layer's multiply-accumulates: its weights, each used once at every place of its output.

    Args:
        weights: the weights' shape.
        places: the output's height and width; empty for a linear layer.
    """
    return int(np.prod([int(side) for side in weights]) * np.prod([int(side) for side in places]))
