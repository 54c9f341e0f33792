"""The graph that every format is exported from: pixels in, logits out, batch norms folded."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

from edgetl.workstation.backbones.conv_norm_pairs import conv_and_norm, trace
from edgetl.workstation.export.graph.padding import ZeroPad, write_out_padding
from edgetl.workstation.export.graph.pooling import write_out_pools

INPUT_NAME = "pixels"
OUTPUT_NAME = "logits"


class DeployGraph(nn.Module):
    """A classifier as the device runs it, with its preprocessing arithmetic inside.

    Input `pixels`: uint8 [1, H, W, 3], RGB. Output `logits`: float32 [1, C], before softmax.
    The pixels are normalised as (pixels / 255 - mean) / std. The backbone is copied, put into
    inference mode and its batch norms are folded into the convolutions before them, so that every
    toolchain starts from the same weights. Operations without effect in inference are removed.

    Args:
        backbone: maps float32 [1, 3, H, W] to float32 [1, C]; must be traceable by torch.fx.
        mean, std: one number per channel, for pixel values scaled to 0..1.
        size: height and width of the picture in pixels.

    Attributes:
        pool: the name of the node whose input, the last feature map, is exported as a second
            output (`edgetl.workstation.export.graph.feature_map`); None: only the logits are.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        size: tuple[int, int],
    ) -> None:
        super().__init__()
        spread = torch.tensor(std, dtype=torch.float64).view(1, -1, 1, 1)
        centre = torch.tensor(mean, dtype=torch.float64).view(1, -1, 1, 1)
        self.register_buffer("scale", (1 / (255 * spread)).float())
        self.register_buffer("shift", (-centre / spread).float())
        self.backbone = fold_batch_norms(backbone)
        write_out_padding(self.backbone, size)
        write_out_pools(self.backbone, size)
        self.size = size
        self.pixel_zero: int | None = None
        self.pool: str | None = None
        self.pixel_step = 1 / 128  # a power of two, so that it is exact
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map uint8 [1, H, W, 3] to float32 logits [1, C]."""
        logits: Tensor = self.backbone(self.normalised(pixels))
        return logits

    def normalised(self, pixels: Tensor) -> Tensor:
        """Normalise pixels, uint8 [N, H, W, 3], to the backbone's input, float32 [N, 3, H, W]."""
        picture = pixels.permute(0, 3, 1, 2).float()
        if self.pixel_zero is None:
            return picture * self.scale + self.shift
        return (picture - self.pixel_zero) * self.pixel_step

    def with_whole_pixels(self, zero: int | None = None) -> DeployGraph:
        """Copy the graph with its normalisation folded into the first convolution.

        The backbone then reads (pixel - z) / 128: whole steps, the same for all channels, which
        int8 represents exactly, so nothing is rounded before the first layer. Zero padding there
        then stands for pixel value z instead of each channel's mean. z is `zero`, or if that is
        None the average of the channels' means, so that the border is padded with a neutral grey
        instead of a slightly warm one: with ImageNet's means the logits keep a signal to noise
        ratio of 47 dB on photographs, where rounding the normalised picture to int8 leaves 32 to
        36.

        If the input is not read by a single convolution, the copy is unchanged.
        """
        graph = copy.deepcopy(self)
        conv = _first_convolution(graph.backbone)
        if conv is None or graph.pixel_zero is not None:
            return graph
        if zero is None:
            zero = round(float((-self.shift / self.scale).mean()))
        bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
        offset = (conv.weight * (zero * self.scale + self.shift)).sum((1, 2, 3))
        conv.bias = nn.Parameter(bias + offset, requires_grad=False)
        conv.weight = nn.Parameter(conv.weight * self.scale / self.pixel_step, requires_grad=False)
        graph.pixel_zero = zero
        return graph

    def example(self) -> Tensor:
        """Return a grey picture of the graph's input shape, uint8 [1, H, W, 3]."""
        height, width = self.size
        return torch.full((1, height, width, 3), 128, dtype=torch.uint8)


# The TFLite converter names tensors after this class. Its module name is fixed, so that a run
# exports to the same bytes wherever the class is defined.
DeployGraph.__module__ = "edgetl.export.graph"


def _first_convolution(traced: fx.GraphModule) -> nn.Conv2d | None:
    """Return the convolution that is the only reader of the input, apart from padding, or None."""
    node = next(node for node in traced.graph.nodes if node.op == "placeholder")
    while len(node.users) == 1:
        (node,) = node.users
        module = traced.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.Conv2d):
            return module if module.groups == 1 else None
        if not isinstance(module, ZeroPad):
            return None
    return None


def fold_batch_norms(model: nn.Module) -> fx.GraphModule:
    """Copy a model in inference mode with each batch norm folded into the convolution before it.

    If a batch norm includes an activation (timm's `BatchNormAct2d`), the activation remains. A
    batch norm that does not directly follow a convolution, or whose convolution has other readers,
    is not folded.

    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks", section 3.2.
    """
    model = copy.deepcopy(model).float().cpu().eval()
    traced = fx.GraphModule(model, trace(model))
    for node in list(traced.graph.nodes):
        pair = conv_and_norm(traced, node)
        if pair is not None:
            _fold_pair(traced, node, *pair)
    for node in list(traced.graph.nodes):
        if _is_idle(traced, node):
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.graph.lint()
    traced.recompile()
    return traced.eval()


def _is_idle(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node outputs its input unchanged in inference."""
    if node.op != "call_module":
        return node.op == "call_function" and node.target is functional.dropout
    return isinstance(traced.get_submodule(str(node.target)), (nn.Identity, nn.Dropout))


def _fold_pair(traced: fx.GraphModule, node: fx.Node, conv: nn.Conv2d, norm: Any) -> None:
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    activation = getattr(norm, "act", None)
    if isinstance(activation, nn.Module) and not isinstance(activation, nn.Identity):
        traced.set_submodule(str(node.target), activation)
    else:
        node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
        traced.graph.erase_node(node)
