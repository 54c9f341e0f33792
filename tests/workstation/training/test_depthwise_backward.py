import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from timm.layers import Conv2dSame
from torch import nn

from edgetl.workstation.training.depthwise_backward import depthwise_conv
from edgetl.workstation.training.forward_patches import speed_up_depthwise


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (5, 2), (3, 0)])
@pytest.mark.parametrize("side", [9, 10, 16])
def test_the_gradients_are_the_ones_torch_computes(
    side: int, kernel: int, padding: int, stride: int
) -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 1, kernel, kernel, dtype=torch.double, requires_grad=True)
    x = torch.randn(2, 4, side, side + 1, dtype=torch.double, requires_grad=True)
    plain = F.conv2d(x, weight, None, stride, padding, groups=4)
    upstream = torch.randn_like(plain)
    expected = torch.autograd.grad(plain, (x, weight), upstream)

    fast = depthwise_conv(x, weight, None, stride, padding)

    torch.testing.assert_close(fast, plain)
    torch.testing.assert_close(torch.autograd.grad(fast, (x, weight), upstream), expected)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("side", [9, 16])
def test_convolutions_that_pad_as_tensorflow_does_keep_their_padding(
    side: int, kernel: int
) -> None:
    torch.manual_seed(0)
    conv = Conv2dSame(4, 4, kernel, stride=2, groups=4, bias=False)
    x = torch.randn(2, 4, side, side + 1, requires_grad=True)
    plain = conv(x)
    upstream = torch.randn_like(plain)
    expected = torch.autograd.grad(plain, (x, conv.weight), upstream)

    speed_up_depthwise(conv)
    with torch.autocast("cpu", torch.bfloat16):
        fast = conv(x)
    got = torch.autograd.grad(fast, (x, conv.weight), upstream.bfloat16())

    assert "_StridedDepthwise" in type(fast.grad_fn).__name__
    assert fast.shape[2:] == (-(-side // 2), -(-(side + 1) // 2))
    for one, other in zip((fast, *got), (plain, *expected), strict=True):
        assert (one - other).norm() < 0.02 * other.norm()  # bfloat16 keeps two to three digits


def test_other_convolutions_and_the_state_dict_stay_as_they_are() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False),
        nn.Conv2d(8, 8, 3, stride=1, padding=1, groups=8, bias=False),
    )
    names = list(model.state_dict())
    speed_up_depthwise(model)

    replaced = ["forward" in vars(module) for module in model]
    assert replaced == [False, True, False]
    assert list(model.state_dict()) == names


def test_autocast_computes_in_bfloat16_as_other_convolutions_do() -> None:
    conv = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False)
    speed_up_depthwise(conv)
    with torch.autocast("cpu", torch.bfloat16):
        out = conv(torch.randn(1, 8, 8, 8))
    assert out.dtype == torch.bfloat16


def test_float32_is_left_to_torch_which_is_faster_there() -> None:
    conv = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False)
    speed_up_depthwise(conv)
    out = conv(torch.randn(1, 8, 8, 8))
    assert "_StridedDepthwise" not in type(out.grad_fn).__name__
