"""Parameters and multiply-accumulates of every backbone, and how int8 keeps its ImageNet answers.

    python benchmarks/backbones.py [PICTURES] [--backbone NAME]...

Prints a Markdown table. MACs are half the operations that PyTorch's FlopCounterMode counts, at the
backbone's own input size with its 1000 ImageNet classes, without auxiliary heads. With a folder of
photographs, every backbone whose weights can be downloaded is also quantized by the first step of
`edgetl export`'s ladder, with every second photograph for calibration; the column shows for which
share of the others each int8 artifact predicts the same ImageNet class as torch.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.errors import WeightsError
from edgetl.core.progress import Silent
from edgetl.runtime.preprocess import load_pixels
from edgetl.runtime.sources import pictures_in
from edgetl.workstation.backbones.architecture import Backbone
from edgetl.workstation.backbones.build import Network, build_network
from edgetl.workstation.backbones.catalogue import BACKBONES
from edgetl.workstation.backbones.weights import find_weights, fit_weights, read_state_dict
from edgetl.workstation.export.artifacts import engine_logits, load_measuring_engine
from edgetl.workstation.export.formats.registry import FORMATS
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.int8.plan import plan_by_ranges
from edgetl.workstation.torch_model import torch_model

CLASSES = 1000
MOST_PICTURES = 160


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, nargs="?")
    parser.add_argument("--backbone", dest="names", action="append", choices=list(BACKBONES))
    given = parser.parse_args(arguments)
    pictures = pictures_in(given.pictures) if given.pictures else []
    chosen = pictures[:: max(1, len(pictures) // MOST_PICTURES)]
    print("| backbone | library | input px | parameters (M) | MACs (G) | int8 agreement (%) |")
    print("|---|---|---|---|---|---|")
    for backbone in (BACKBONES[name] for name in given.names or BACKBONES):
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
    calibration, others = prepared[::2], prepared[1::2]
    expected = torch_model(network, spec)(np.stack(others)).argmax(1)
    size = (spec.size_px, spec.size_px)
    graph = DeployGraph(network.model, mean=spec.mean, std=spec.std, size=size)
    plan = plan_by_ranges(graph.with_whole_pixels(), calibration)
    shares = []
    for format_ in FORMATS.own():
        files = format_.write_int8(plan, calibration[0])
        answers = engine_logits(load_measuring_engine(format_.name, files), others).argmax(1)
        shares.append(f"{format_.name} {100 * (answers == expected).mean():.1f}")
    return ", ".join(shares)


def _fitted(network: Network, backbone: Backbone) -> Preprocess | None:
    """Fill in the ImageNet weights, head and all; None if they cannot be downloaded."""
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


if __name__ == "__main__":
    main()
