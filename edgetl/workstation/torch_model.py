"""Running a trained network in torch on prepared pictures, in float32 on the CPU."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgetl.bundle.preprocessing import Preprocess
from edgetl.evaluation.accuracy import Model
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.backbones.build import Network, class_logits


def to_unit_range(pixels: Pixels) -> Tensor:
    """Turn pixels, uint8 [N, S, S, 3], into a tensor, float32 [N, 3, S, S], 0 to 1."""
    return torch.tensor(pixels).permute(0, 3, 1, 2).float() / 255


class UnitRangeNetwork(torch.nn.Module):
    """A network that takes pictures from 0 to 1 and returns a logit for each class."""

    def __init__(self, network: Network, spec: Preprocess) -> None:
        super().__init__()
        self.network = network.model
        self.mean = torch.tensor(spec.mean).view(1, 3, 1, 1)
        self.std = torch.tensor(spec.std).view(1, 3, 1, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map float32 [N, 3, S, S], 0 to 1, to float32 [N, classes]."""
        return class_logits(self.network((pictures - self.mean) / self.std))


def torch_model(network: Network, spec: Preprocess) -> Model:
    """A function that runs the trained network.

    It takes pixels, uint8 [N, S, S, 3], and returns logits, float32 [N, classes].
    """
    module = UnitRangeNetwork(network, spec)

    def logits(pixels: Pixels) -> NDArray[np.float32]:
        with torch.inference_mode():
            output: NDArray[np.float32] = module(to_unit_range(pixels)).numpy()
        return output

    return logits
