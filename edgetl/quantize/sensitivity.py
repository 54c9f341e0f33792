"""Which parts of a network int8 costs most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgetl.core.progress import Progress
from edgetl.core.reports import Blame
from edgetl.quantize.graph import Graph, Pixels, layers, logits_of
from edgetl.quantize.plan import Plan
from edgetl.quantize.simulated import simulate

PICTURES = 32


def blame_layers(plan: Plan, pictures: Sequence[Pixels], progress: Progress) -> list[Blame]:
    """What it costs to round only one activation, and the weights that make it; worst first.

    Args:
        plan: the int8 network.
        pictures: uint8 [H, W, 3]; the first `PICTURES` are asked.
        progress: told of each.
    """
    chosen = pictures[:PICTURES]
    wanted = logits_of(plan.unrounded, chosen)
    writers = _writers(plan)
    groups: dict[str, list[str]] = {}
    for node, group in plan.groups.items():
        groups.setdefault(group, []).append(node)
    blames = []
    with progress.stage("blaming layers", len(groups), "layers") as shown:
        for group, nodes in groups.items():
            made_by = [writers[node] for node in nodes if node in writers]
            answers = logits_of(_with_only(plan, nodes, made_by), chosen)
            blames.append(
                Blame(
                    activation=group,
                    layers=tuple(made_by),
                    snr_db=round(signal_to_noise_db(wanted, answers), 2),
                    agreement=float((wanted.argmax(1) == answers.argmax(1)).mean()),
                )
            )
            shown.advance(1, group)
    return sorted(blames, key=lambda blame: blame.snr_db)


def signal_to_noise_db(wanted: NDArray[np.float32], answers: NDArray[np.float32]) -> float:
    """Energy of the logits [N, C] over that of their error, in decibels, at most 120.

    What is the same for all of a picture's logits counts for nothing, as in softmax.
    """
    signal, noise = _centred(wanted), _centred(answers - wanted)
    ratio = float((signal**2).sum()) / max(float((noise**2).sum()), 1e-30)
    return min(120.0, 10 * float(np.log10(max(ratio, 1e-12))))


def _centred(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    return wide - wide.mean(axis=1, keepdims=True) if wide.shape[1] > 1 else wide


def _with_only(plan: Plan, nodes: Sequence[str], made_by: Sequence[str]) -> Graph:
    """The float network with these activations, and the weights of these layers, in int8."""
    graph = simulate(plan.unrounded, {node: plan.grids[node] for node in nodes})
    rounded, free = layers(plan.graph.backbone), layers(graph.backbone)
    for name in made_by:
        free[name].weight, free[name].bias = rounded[name].weight, rounded[name].bias
    return graph


def _writers(plan: Plan) -> dict[str, str]:
    """The layer behind what is rounded: its own answer, or that of the ReLU behind it."""
    traced = plan.graph.backbone
    weighted = layers(traced)
    found = {}
    for node in traced.graph.nodes:
        if node.name in weighted:
            rounded = node if node.name in plan.groups else next(iter(node.users))
            found[rounded.name] = node.name
    return found
