"""Grad-CAM: heatmaps of any convolutional network, in torch.

Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization".
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from edgetl.bundle.preprocessing import Preprocess
from edgetl.bundle.reports import Heatmap
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.backbones.build import Network
from edgetl.workstation.torch_model import UnitRangeNetwork, to_unit_range


def grad_cam(
    network: Network, spec: Preprocess, labels: Sequence[str]
) -> Callable[[Pixels], Heatmap] | None:
    """Make a function that draws the heatmap of a prepared picture for its likeliest label.

    It takes pixels, uint8 [S, S, 3]. Each cell of the last feature map adds, to first order, that
    much to the label's logit, compared with the mean of the other labels' logits. For a network
    that ends in global average pooling and a linear layer it is exactly the class activation map
    that `edgetl.Classifier` makes on the device.

    Returns None for a network without a feature map of more than one place.
    """
    module = UnitRangeNetwork(network, spec).eval()
    layer = _last_feature_map(module, spec.size_px)
    if layer is None:
        return None
    attribution = LayerGradCam(_lead(module), layer)

    def heatmap(pixels: Pixels) -> Heatmap:
        picture = to_unit_range(pixels[np.newaxis])
        with torch.inference_mode():
            best = int(module(picture).argmax())
        cells = attribution.attribute(picture.requires_grad_(), target=best)[0, 0].detach().numpy()
        return Heatmap(label=labels[best], logits=tuple(map(tuple, cells.tolist())))

    return heatmap


def _lead(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """Each class's logit minus the mean of the others', [N, classes]."""

    def lead(pictures: Tensor) -> Tensor:
        logits: Tensor = module(pictures)
        classes = logits.shape[1]
        others = (logits.sum(dim=1, keepdim=True) - logits) / (classes - 1)
        return logits - others

    return lead


def _last_feature_map(module: nn.Module, size_px: int) -> nn.Module | None:
    """The module that is the last to return a feature map, [N, channels, h, w] with h * w > 1."""
    last: list[nn.Module] = []

    def see(layer: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2:].numel() > 1:
            last[:] = [layer]

    hooks = [layer.register_forward_hook(see) for layer in module.modules() if layer is not module]
    with torch.inference_mode():
        module(torch.zeros(1, 3, size_px, size_px))
    for hook in hooks:
        hook.remove()
    return last[0] if last else None
