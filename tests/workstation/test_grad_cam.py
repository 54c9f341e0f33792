"""Grad-CAM: heatmaps of any convolutional network."""

import numpy as np
import pytest

pytest.importorskip("captum")

import torch

from edgetl.bundle.preprocessing import Preprocess
from edgetl.runtime.heatmap import class_activation
from edgetl.workstation.backbones.build import Network, build_network
from edgetl.workstation.backbones.catalogue import BACKBONES, find_backbone
from edgetl.workstation.grad_cam import grad_cam
from edgetl.workstation.torch_model import torch_model

SPEC = Preprocess(size_px=64, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.2))
LABELS = ("a", "b", "c")


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    network = build_network(find_backbone("mobilenet_v2"), 3)
    network.model.eval()
    return network


@pytest.fixture
def noise(rng: np.random.Generator) -> np.ndarray:
    """Four pictures."""
    return rng.integers(0, 256, (4, 64, 64, 3), np.uint8)


def test_of_a_pooled_head_it_is_the_class_activation_map(
    network: Network, noise: np.ndarray
) -> None:
    heatmap = grad_cam(network, SPEC, LABELS)
    assert heatmap is not None
    logits = torch_model(network, SPEC)(noise)
    maps = []
    hook = network.model.features.register_forward_hook(lambda *seen: maps.append(seen[2]))
    torch_model(network, SPEC)(noise)
    hook.remove()
    for i, picture in enumerate(noise):
        best = int(logits[i].argmax())
        features = maps[0][i].permute(1, 2, 0).numpy()
        expected = class_activation(features, network.head().weight.detach().numpy(), best)
        made = heatmap(picture)
        assert made.label == LABELS[best]
        np.testing.assert_allclose(np.array(made.logits), expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(BACKBONES))
def test_every_backbone_has_one(name: str, rng: np.random.Generator) -> None:
    backbone = find_backbone(name)
    side = max(96, backbone.smallest_px)
    spec = Preprocess(size_px=side, mean=SPEC.mean, std=SPEC.std)
    network = build_network(backbone, 3)
    network.model.eval()
    heatmap = grad_cam(network, spec, LABELS)
    assert heatmap is not None
    cells = np.array(heatmap(rng.integers(0, 256, (side, side, 3), np.uint8)).logits)
    assert cells.size > 1
    assert np.isfinite(cells).all()
    assert cells.any()
