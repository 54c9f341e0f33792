"""Norms that keep their statistics, run together with the convolutions before them."""

import copy

import pytest

torch = pytest.importorskip("torch")

from torch.nn.modules.batchnorm import _BatchNorm  # noqa: E402

from edgetl.workstation.backbones.build import Network, build_network  # noqa: E402
from edgetl.workstation.backbones.catalogue import find_backbone  # noqa: E402
from edgetl.workstation.training.forward_patches import (  # noqa: E402
    fold_batch_norm,
    folded_batch_norm,
    speed_up_depthwise,
)

# Plain blocks, residual blocks, timm's norms that carry an activation, dense norms in branches.
BACKBONES = ("mobilenet_v2", "resnet18", "efficientnet_lite0", "shufflenet_v2", "googlenet")


def pair(name: str) -> tuple[Network, Network]:
    """A network whose norms hold odd statistics, and the same with its norms folded."""
    torch.manual_seed(0)
    network = build_network(find_backbone(name), 3)
    for module in network.model.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    network.model.eval().double()  # or a deep network's rounding would hide what is compared
    folded = Network(copy.deepcopy(network.model), network.backbone)
    speed_up_depthwise(folded.model)
    fold_batch_norm(folded.model)
    return network, folded


@pytest.mark.parametrize("name", BACKBONES)
def test_a_folded_network_answers_and_learns_as_the_plain_one_in_inference_mode(name: str) -> None:
    plain, folded = pair(name)
    pixels = torch.randn(4, 3, 64, 64).double()
    answers = []
    for network in (plain, folded):
        logits = network.model(pixels)
        logits.square().sum().backward()
        answers.append(logits.detach())
    assert torch.allclose(answers[0], answers[1], rtol=1e-9)
    for (key, one), other in zip(
        plain.model.named_parameters(), folded.model.parameters(), strict=True
    ):
        assert one.grad is not None, key
        largest = one.grad.abs().max()
        assert torch.allclose(one.grad, other.grad, rtol=1e-7, atol=1e-9 * largest), key


def test_folding_changes_nothing_that_is_saved() -> None:
    plain, folded = pair("mobilenet_v2")
    state, other = plain.model.state_dict(), folded.model.state_dict()
    assert list(state) == list(other)
    assert all(torch.equal(state[key], other[key]) for key in state)


def test_a_copy_of_a_folded_network_learns_by_itself() -> None:
    _, folded = pair("mobilenet_v2")
    twin = copy.deepcopy(folded.model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    pixels = torch.randn(2, 3, 64, 64).double()
    assert twin(pixels).abs().max() == 0
    assert folded.model(pixels).abs().max() > 0


def test_a_network_in_training_mode_stays_in_it() -> None:
    network = build_network(find_backbone("mobilenet_v2"), 3)
    network.model.train()
    fold_batch_norm(network.model)
    assert network.model.training


def test_a_network_folded_for_a_while_is_afterwards_as_it_was() -> None:
    network, _ = pair("mobilenet_v2")
    speed_up_depthwise(network.model)
    own = [module.__dict__.get("forward") for module in network.model.modules()]
    pixels = torch.randn(2, 3, 64, 64).double()
    before = network.model(pixels)
    with folded_batch_norm(network.model):
        assert [module.__dict__.get("forward") for module in network.model.modules()] != own
        assert torch.allclose(network.model(pixels), before, rtol=1e-9)
    assert [module.__dict__.get("forward") for module in network.model.modules()] == own
    assert torch.equal(network.model(pixels), before)
