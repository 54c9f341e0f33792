"""Short fine-tuning of the int8 network by distillation from the float network."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgetl.core.progress import Progress
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.graph.nodes import layers, stacked
from edgetl.workstation.export.int8.plan import QuantizationPlan
from edgetl.workstation.export.int8.rounding import weight_step

STEPS_TAKEN = 150
_BATCH = 16
# Adam moves a weight by about this much per iteration, in units of its layer's int8 step.
_RATE = 0.01


def distil(
    plan: QuantizationPlan,
    teacher: DeployGraph,
    pictures: Sequence[Pixels],
    progress: Progress,
    *,
    seed: int = 0,
) -> QuantizationPlan:
    """Train the int8 network's weights and biases to output the float network's logits.

    The forward pass is that of the int8 network, with rounded weights and activations; the gradient
    passes each rounding as if it were not there (Bengio et al. 2013,
    https://arxiv.org/abs/1308.3432; Jacob et al. 2018, https://arxiv.org/abs/1712.05877). No labels
    are needed: the targets are the float network's logits (Ba & Caruana 2014,
    https://arxiv.org/abs/1312.6184), on the pictures and their mirror images. The activations'
    ranges do not change. Returns the plan with the trained weights.

    Args:
        plan: the int8 network to start from; it is not modified.
        teacher: the float network, with the same pixel normalisation as the plan's graph.
        pictures: uint8 [H, W, 3] each, of training data.
        progress: where to show how far it is.
        seed: seeds the choice of batches.
    """
    student, steps = plan.fake_quantized(), plan.constraints.weight_steps
    trained = layers(student.backbone)
    groups = []
    for layer in trained.values():
        rate = _RATE * float(weight_step(layer.weight, steps).mean())
        parametrize.register_parametrization(layer, "weight", _OnSteps(steps))
        groups.append({"params": [p.requires_grad_() for p in layer.parameters()], "lr": rate})
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, STEPS_TAKEN)
    random = np.random.default_rng(seed)
    with progress.stage("tuning int8", STEPS_TAKEN, "steps") as stage:
        for _ in range(STEPS_TAKEN):
            chosen = random.choice(len(pictures), min(_BATCH, len(pictures)), replace=False)
            batch = stacked([pictures[index] for index in chosen])
            batch = batch.flip(2) if random.random() < 0.5 else batch
            with torch.no_grad():
                targets = _centred(teacher(batch))
            squared_error = (_centred(student(batch)) - targets).square().sum()
            loss = squared_error / targets.square().sum().clamp_min(1e-12)  # targets may be all 0
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            stage.advance(1)
    return plan._replace(graph=_with_weights_of(plan.graph, student))


class _OnSteps(nn.Module):
    """Rounds weights to the int8 steps of their output channel, `steps` on either side of zero."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps

    def forward(self, weight: Tensor) -> Tensor:
        zeros = torch.zeros(len(weight), dtype=torch.int32)
        step, most = weight_step(weight.detach(), self._steps), self._steps
        return torch.fake_quantize_per_channel_affine(weight, step, zeros, 0, -most, most)


def _centred(logits: Tensor) -> Tensor:
    """Subtract each picture's mean logit, which softmax ignores; a single logit stays unchanged."""
    return logits - logits.mean(1, keepdim=True) if logits.shape[1] > 1 else logits


def _with_weights_of(graph: DeployGraph, student: DeployGraph) -> DeployGraph:
    graph = copy.deepcopy(graph)
    tuned = layers(student.backbone)
    with torch.no_grad():
        for name, layer in layers(graph.backbone).items():
            layer.weight.copy_(tuned[name].weight)
            bias = tuned[name].bias
            if layer.bias is not None and bias is not None:
                layer.bias.copy_(bias)
    return graph
