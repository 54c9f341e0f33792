"""Parameters and multiply-accumulates of every backbone, and how int8 keeps its ImageNet answers.

    python benchmarks/backbones.py [PICTURES]

Prints a Markdown table. MACs are half the operations that PyTorch's FlopCounterMode counts, at the
backbone's own input size with its 1000 ImageNet classes, auxiliary heads left away. Given a folder
of photographs, every backbone whose weights can be had is also exported and quantized as `edgetl
export` does, with every second photograph for calibration, and the column says on which part of the
others each int8 artifact names the same ImageNet class as torch.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from edgetl.backbones.architecture import Backbone
from edgetl.backbones.build import Network, build_network
from edgetl.backbones.catalogue import CATALOGUE
from edgetl.backbones.weights import find_weights, fit_weights, read_state_dict
from edgetl.core.errors import WeightsError
from edgetl.core.manifest import FORMATS
from edgetl.core.preprocess import Preprocess
from edgetl.core.progress import Silent
from edgetl.pipeline.export import MEASURED_WITH
from edgetl.pipeline.models import torch_model
from edgetl.pipeline.products import make_products
from edgetl.runtime.engine import load_engine
from edgetl.runtime.preprocess import Pixels, load_pixels
from edgetl.runtime.sources import pictures_in

CLASSES = 1000
MOST_PICTURES = 160


def main() -> None:
    """Print the table."""
    pictures = pictures_in(Path(sys.argv[1])) if len(sys.argv) > 1 else []
    chosen = pictures[:: max(1, len(pictures) // MOST_PICTURES)]
    print("| backbone | library | input px | parameters (M) | MACs (G) | int8 agreement (%) |")
    print("|---|---|---|---|---|---|")
    for backbone in CATALOGUE.values():
        network = build_network(backbone, CLASSES)
        parameters = sum(p.numel() for p in network.model.parameters()) / 1e6
        held = _agreement(network, chosen) if chosen else "not measured"
        print(
            f"| {backbone.name} | {backbone.library} | {backbone.size_px} | {parameters:.2f} "
            f"| {_macs(network) / 1e9:.2f} | {held} |",
            flush=True,
        )


def _macs(network: Network) -> float:
    """Multiply-accumulates of one picture."""
    size = network.backbone.size_px
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.model.eval()(torch.zeros(1, 3, size, size))
    return counter.get_total_flops() / 2


def _agreement(network: Network, pictures: list[Path]) -> str:
    """Each format's, e.g. "onnx 98.8, openvino 97.5, tflite 98.8"."""
    backbone = network.backbone
    spec = _fitted(network, backbone)
    if spec is None:
        return "no weights at hand"
    prepared = [load_pixels(path, spec) for path in pictures]
    calibration, asked = prepared[::2], np.stack(prepared[1::2])
    expected = torch_model(network, spec)(asked).argmax(1)
    products = make_products(network, spec, FORMATS, ("int8",), calibration, Silent())
    return ", ".join(
        f"{p.format} {100 * (_answers(p.format, p.files, asked) == expected).mean():.1f}"
        for p in products
    )


def _fitted(network: Network, backbone: Backbone) -> Preprocess | None:
    """Fill in the ImageNet weights, head and all; None where they cannot be had."""
    try:
        found = find_weights(backbone, Silent())
        state = read_state_dict(found.path)
        fit_weights(
            network.model, state, what=found.path.name, by_order=found.source.paired_by_order
        )
    except WeightsError:
        return None
    network.model.eval()
    return Preprocess(size_px=backbone.size_px, mean=found.source.mean, std=found.source.std)


def _answers(format_: str, files: tuple[bytes, ...], asked: Pixels) -> np.ndarray:
    engine = load_engine(MEASURED_WITH[format_], files, threads=1)
    return np.array([engine(picture[np.newaxis])[0].argmax() for picture in asked])


if __name__ == "__main__":
    main()
