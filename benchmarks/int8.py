"""What int8 costs: edgetl's beside each toolchain's defaults, on one run's held-out pictures.

    python benchmarks/int8.py RUN [--calibration PICTURES] [--seeds 2] [--json FILE]

The defaults are those of each tool's own guide: ONNX Runtime's `quantize_static` with QDQ and
min-max ranges, per tensor and per channel; `nncf.quantize` with nothing but pictures;
ai-edge-quantizer's static int8 with its own calibration. All start from the same float files, are
calibrated with the same pictures and are asked through the same engines.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import litert_torch
import nncf
import numpy as np
import onnx
import openvino as ov
import torch
from ai_edge_quantizer import qtyping, quantizer
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

from edgetl.core.progress import Silent
from edgetl.core.quiet import quiet
from edgetl.data.split import SPLITS_FILE, pick_balanced, read_split
from edgetl.evaluation.accuracy import one_by_one, predict_all
from edgetl.evaluation.metrics import expected_drop
from edgetl.workstation.backbones.checkpoint import load_checkpoint
from edgetl.workstation.export.artifacts import load_measuring_engine
from edgetl.workstation.export.formats.onnx import export_onnx
from edgetl.workstation.export.formats.openvino import export_openvino
from edgetl.workstation.export.formats.registry import FORMATS
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.int8.plan import plan_by_ranges
from edgetl.workstation.export.pictures import CALIBRATION_IMAGES, choose_pictures, prepared
from edgetl.workstation.torch_model import torch_model

Files = tuple[bytes, ...]
Pictures = Sequence[NDArray[np.uint8]]


class Reader(CalibrationDataReader):
    """Pictures, as ONNX Runtime asks for them."""

    def __init__(self, pictures: Pictures) -> None:
        self._feeds = iter([{"pixels": picture[np.newaxis]} for picture in pictures])

    def get_next(self) -> dict | None:
        return next(self._feeds, None)


def onnx_defaults(graph: DeployGraph, pictures: Pictures, per_channel: bool) -> Files:
    """`quantize_static` as its guide shows it."""
    model = onnx.load_model_from_string(export_onnx(graph)[0])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            model, path, Reader(pictures), quant_format=QuantFormat.QDQ, per_channel=per_channel
        )
        return (path.read_bytes(),)


def nncf_defaults(graph: DeployGraph, pictures: Pictures) -> Files:
    """`nncf.quantize` with nothing but pictures."""
    xml, weights = export_openvino(graph)
    model = ov.Core().read_model(model=xml, weights=weights)
    whole = nncf.quantize(model, nncf.Dataset([picture[np.newaxis] for picture in pictures]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        ov.save_model(whole, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def ai_edge_defaults(graph: DeployGraph, pictures: Pictures) -> Files:
    """ai-edge-quantizer's static int8, with its own calibration."""
    with quiet(), torch.inference_mode():
        converted = litert_torch.convert(graph, (graph.example(),)).model_content()
    tool = quantizer.Quantizer(bytearray(converted))
    tool.add_static_config(".*", qtyping.TFLOperationName.ALL_SUPPORTED, 8, 8)
    for name in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        tool.update_quantization_recipe(".*", name, None, AlgorithmName.NO_QUANTIZE)
    feeds = [{"args_0": picture[np.newaxis]} for picture in pictures]
    statistics = tool.calibrate({"serving_default": feeds})
    return (bytes(tool.quantize(statistics).quantized_model),)


def ours(graph: DeployGraph, pictures: Pictures) -> Iterator[tuple[str, str, Files]]:
    """The first step of edgetl's int8 ladder in every format."""
    plan = plan_by_ranges(graph.with_whole_pixels(), pictures)
    for spec in FORMATS.own():
        yield spec.name, f"edgetl {spec.name}", spec.write_int8(plan, pictures[0])


def defaults(graph: DeployGraph, pictures: Pictures) -> Iterator[tuple[str, str, Files]]:
    """Every toolchain's own way; one that fails is said to."""
    ways: list[tuple[str, str, Callable[[], Files]]] = [
        ("onnx", "ORT per tensor", lambda: onnx_defaults(graph, pictures, False)),
        ("onnx", "ORT per channel", lambda: onnx_defaults(graph, pictures, True)),
        ("openvino", "NNCF", lambda: nncf_defaults(graph, pictures)),
        ("tflite", "ai-edge", lambda: ai_edge_defaults(graph, pictures)),
    ]
    for format_, name, make in ways:
        try:
            yield format_, name, make()
        except Exception as error:  # another tool's failure is a result here
            print(f"{name}: failed, {type(error).__name__}: {str(error)[:200]}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run everything, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--seeds", type=int, default=1, help="choices of calibration pictures")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    network, facts = load_checkpoint(given.run)
    spec = facts.preprocess
    size = (spec.size_px, spec.size_px)
    graph = DeployGraph(network.model, mean=spec.mean, std=spec.std, size=size)
    chosen = choose_pictures(read_split(given.run / SPLITS_FILE), given.calibration)
    models = {"torch": torch_model(network, spec)}
    for seed in range(given.seeds):
        picked = pick_balanced(chosen.tuning, CALIBRATION_IMAGES, seed)
        pictures = prepared(picked, spec)
        made = [*ours(graph, pictures), *(defaults(graph, pictures) if seed == 0 else ())]
        for format_, name, files in made:
            engine = load_measuring_engine(format_, files)
            models[f"{name}, seed {seed}"] = one_by_one(
                lambda picture, engine=engine: engine(picture[np.newaxis])[0].copy()
            )
    answers = predict_all(models, chosen.held_out.examples, spec, Silent(), stage="measuring")
    rows = []
    for name in list(models)[1:]:
        lost = expected_drop(answers.logits[name], answers.logits["torch"], facts.temperature)
        drop = 100 * (answers.top1("torch") - answers.top1(name))
        row = {
            "name": name,
            "drop_pp": round(drop, 2) if chosen.held_out.labelled else None,
            "expected_drop_pp": round(100 * float(lost.mean()), 2),
            "agreement": round(answers.agreement(name, "torch"), 4),
        }
        rows.append(row)
        print(
            f"{name:24} drop {row['drop_pp']!s:>6}  expected {row['expected_drop_pp']:5.2f}  "
            f"agreement {row['agreement']:.2%}"
        )
    print(f"{facts.backbone}, {len(answers.truth)} {chosen.held_out.part} pictures")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
