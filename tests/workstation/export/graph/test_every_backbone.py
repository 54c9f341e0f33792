"""Every architecture through every toolchain, on small pictures and with made weights.

Random weights say little about accuracy, but every layer an architecture is made of is there.
"""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgetl.runtime.engines.registry import load_engine
from edgetl.workstation.backbones.build import Network, build_network, features
from edgetl.workstation.backbones.catalogue import BACKBONES, find_backbone
from edgetl.workstation.export.formats.registry import FORMATS
from edgetl.workstation.export.formats.spec import summarise_precision
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.graph.feature_map import find_pooled_head
from edgetl.workstation.export.int8.plan import plan_by_ranges
from tests.making import KINDS, draw
from tests.workstation.export.tiny import CONSTRAINTS, torch_logits

pytestmark = pytest.mark.slow

# Too large for every format here, or others have every kind of their layers: ONNX alone.
ONNX_ALONE = ("alexnet", "googlenet", "resnet18", "mnasnet")
# The layers of a smaller one, more of them or wider: ONNX alone, and not in `make test`.
LARGER = ("vgg16", "resnet34", "mobilenet_v3_large", "efficientnet_lite1", "efficientnet_lite2")
EVERY = [pytest.param(name, marks=pytest.mark.larger) if name in LARGER else name
         for name in BACKBONES]  # fmt: skip


def made_network(name: str, planes: torch.Tensor, labels: torch.Tensor) -> Network:
    """Seeded weights, norms adapted to the pictures, and a head fitted to tell them apart."""
    torch.manual_seed(0)
    network = build_network(find_backbone(name), len(KINDS))
    for module in network.model.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = None
    network.model.train()
    with torch.inference_mode():
        network.model(planes)
        network.model.eval()
        seen = features(network, planes)
        centred = (seen - seen.mean(0)).double()
        targets = 4 * (nn.functional.one_hot(labels, len(KINDS)).double() - 1 / len(KINDS))
        gram = centred @ centred.T
        ridge = 0.1 * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
        weight = (centred.T @ torch.linalg.solve(gram + ridge, targets)).T.float()
        network.head().weight.copy_(weight)
        network.head().bias.copy_(-weight @ seen.mean(0))
    return network


def made_pictures(size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [24, size, size, 3] of three kinds, and which kind each is."""
    labels = np.arange(24) % len(KINDS)
    drawn = [draw(KINDS[kind], i, size_px, size_px) for i, kind in enumerate(labels)]
    return np.stack([np.asarray(picture) for picture in drawn]), labels


@pytest.mark.parametrize("name", EVERY)
def test_it_answers_like_torch_in_every_format_and_mostly_so_in_int8(name: str) -> None:
    size_px = max(64, find_backbone(name).smallest_px)
    size = (size_px, size_px)
    pictures, labels = made_pictures(size_px)
    planes = (torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    network = made_network(name, planes, torch.from_numpy(labels))
    graph = DeployGraph(network.model, mean=(0.5,) * 3, std=(0.25,) * 3, size=size)
    by_torch = torch_logits(graph, pictures)
    with torch.inference_mode():
        np.testing.assert_allclose(by_torch, network.model(planes).numpy(), atol=1e-3)
    assert (by_torch.argmax(1) == labels).mean() > 0.9  # or agreement would mean nothing

    plan = plan_by_ranges(graph.with_whole_pixels(), list(pictures[:12]), CONSTRAINTS)
    rounded = torch_logits(plan.graph, pictures)
    for format_ in ("onnx",) if name in ONNX_ALONE + LARGER else FORMATS:
        spec = FORMATS[format_]
        floats = spec.write_float(plan.graph, "fp32")
        np.testing.assert_allclose(asked(format_, floats, pictures), rounded, atol=2e-3)
        integers = spec.write_int8(plan, pictures[0])
        agreement = (asked(format_, integers, pictures).argmax(1) == by_torch.argmax(1)).mean()
        precision = summarise_precision(spec.operators(integers))
        print(f"{name:20} {format_:10} int8 agreement {agreement:.3f} {precision}")
        assert agreement >= 0.85
        assert precision.int8_macs > 0.99
        assert max(map(len, integers)) < 0.5 * max(map(len, floats))  # OpenVINO: the weights


def asked(format_: str, files: tuple[bytes, ...], pictures: np.ndarray) -> np.ndarray:
    """Logits through the format's engine."""
    engine = load_engine(FORMATS[format_].engine, files, threads=1)
    return np.concatenate([engine(picture[None]).copy() for picture in pictures])


@pytest.mark.parametrize("name", list(BACKBONES))
def test_the_catalogue_says_which_have_a_feature_map(name: str) -> None:
    backbone = find_backbone(name)
    size_px = max(128, backbone.smallest_px)  # A map of one place is not a feature map.
    network = build_network(backbone, 3).model.eval()
    half = (0.5, 0.5, 0.5)
    head = find_pooled_head(DeployGraph(network, mean=half, std=half, size=(size_px, size_px)))
    assert (head is not None) == backbone.pooled_head
