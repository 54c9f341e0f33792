"""Measures which parts of a network lose most by int8."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.reports import LayerSensitivity
from edgetl.core.progress import Progress
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.graph.nodes import layers, logits_of
from edgetl.workstation.export.int8.fake_quantize import fake_quantize
from edgetl.workstation.export.int8.plan import QuantizationPlan

PICTURES = 32


def measure_sensitivities(
    plan: QuantizationPlan, pictures: Sequence[Pixels], progress: Progress
) -> list[LayerSensitivity]:
    """Measure what it costs to round one activation alone, and its layer's weights; worst first.

    The logits are compared with those of the float network.

    Args:
        plan: the int8 network.
        pictures: uint8 [H, W, 3] each; the first `PICTURES` are used.
        progress: where to show how far it is.
    """
    chosen = pictures[:PICTURES]
    reference = logits_of(plan.unrounded, chosen)
    writers = _writers(plan)
    groups: dict[str, list[str]] = {}
    for node, group in plan.groups.items():
        groups.setdefault(group, []).append(node)
    sensitivities = []
    with progress.stage("layer sensitivity", len(groups), "layers") as stage:
        for group, nodes in groups.items():
            made_by = [writers[node] for node in nodes if node in writers]
            logits = logits_of(_with_only(plan, nodes, made_by), chosen)
            sensitivities.append(
                LayerSensitivity(
                    activation=group,
                    layers=tuple(made_by),
                    snr_db=round(signal_to_noise_db(reference, logits), 2),
                    agreement=float((reference.argmax(1) == logits.argmax(1)).mean()),
                )
            )
            stage.advance(1, group)
    return sorted(sensitivities, key=lambda sensitivity: sensitivity.snr_db)


def signal_to_noise_db(wanted: NDArray[np.float32], answers: NDArray[np.float32]) -> float:
    """Return the energy of logits `wanted` [N, C] over that of the error of `answers`, in dB.

    At most 120 dB. A constant added to all of a picture's logits is ignored, as in softmax.
    """
    signal, noise = _centred(wanted), _centred(answers - wanted)
    ratio = float((signal**2).sum()) / max(float((noise**2).sum()), 1e-30)
    return min(120.0, 10 * float(np.log10(max(ratio, 1e-12))))


def _centred(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    return wide - wide.mean(axis=1, keepdims=True) if wide.shape[1] > 1 else wide


def _with_only(plan: QuantizationPlan, nodes: Sequence[str], made_by: Sequence[str]) -> DeployGraph:
    """Return the float network with only these activations and these layers' weights in int8."""
    graph = fake_quantize(plan.unrounded, {node: plan.params[node] for node in nodes})
    rounded, free = layers(plan.graph.backbone), layers(graph.backbone)
    for name in made_by:
        free[name].weight, free[name].bias = rounded[name].weight, rounded[name].bias
    return graph


def _writers(plan: QuantizationPlan) -> dict[str, str]:
    """Return the layer behind each rounded node, which is the layer itself or the ReLU after it."""
    traced = plan.graph.backbone
    weighted = layers(traced)
    writers = {}
    for node in traced.graph.nodes:
        if node.name in weighted:
            rounded = node if node.name in plan.groups else next(iter(node.users))
            writers[rounded.name] = node.name
    return writers
