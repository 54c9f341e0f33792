"""A trained network -> every artifact asked for, as files in memory."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from edgetl.core.console import native_chatter_dropped
from edgetl.core.errors import EdgetlError
from edgetl.core.manifest import Format, Scheme
from edgetl.core.preprocess import Preprocess
from edgetl.core.progress import Progress
from edgetl.runtime.preprocess import Pixels

if TYPE_CHECKING:
    from edgetl.backbones.build import Network
    from edgetl.export.graph import DeployGraph

Files = tuple[bytes, ...]


class Product(NamedTuple):
    """An artifact's files, before they are measured and described."""

    format: Format
    scheme: Scheme
    files: Files

    @property
    def name(self) -> str:
        """As in `Artifact.name`."""
        return f"{self.format}-{self.scheme}"


class Toolchain(NamedTuple):
    """How one format is exported, halved (where that gains something) and quantized."""

    export: Callable[["DeployGraph"], Files]
    export_half: Callable[["DeployGraph"], Files] | None
    quantize: Callable[[Files, Sequence[Pixels]], Files]


def make_products(
    network: "Network",
    spec: Preprocess,
    formats: Sequence[Format],
    schemes: Sequence[Scheme],
    calibration: Sequence[Pixels],
    progress: Progress,
) -> list[Product]:
    """Every artifact asked for; formats in order, fp32 first."""
    with native_chatter_dropped():
        from edgetl.export import SCHEMES
        from edgetl.export.graph import DeployGraph
        from edgetl.quantize.rounding import round_weights

    size = (spec.size_px, spec.size_px)
    graph = DeployGraph(network.model, mean=spec.mean, std=spec.std, size=size)
    plan = [(name, scheme) for name in formats for scheme in SCHEMES[name] if scheme in schemes]
    if not plan:
        raise EdgetlError(f"None of {', '.join(formats)} comes in {', '.join(schemes)}.")
    products = []
    with progress.stage("exporting", len(plan), "artifacts") as shown, native_chatter_dropped():
        # All int8 files start from the same weights, already on their int8 grid.
        rounded = round_weights(graph, calibration, size=size) if "int8" in schemes else graph
        for name, scheme in plan:
            tools = _toolchain(name)
            if scheme == "int8":
                files = tools.quantize(tools.export(rounded), calibration)
            elif scheme == "fp16" and tools.export_half:
                files = tools.export_half(graph)
            else:
                files = tools.export(graph)
            products.append(Product(name, scheme, files))
            shown.advance(1, products[-1].name)
    return products


def _toolchain(name: Format) -> Toolchain:
    """A format's tools, imported when they are needed: each takes seconds to load."""
    if name == "onnx":
        from edgetl.export.onnx import export_onnx
        from edgetl.quantize.onnx import quantize_onnx

        return Toolchain(export_onnx, None, quantize_onnx)
    if name == "openvino":
        from edgetl.export.openvino import export_openvino
        from edgetl.quantize.openvino import quantize_openvino

        return Toolchain(export_openvino, partial(export_openvino, fp16=True), quantize_openvino)
    from edgetl.export.tflite import export_tflite
    from edgetl.quantize.tflite import quantize_tflite

    return Toolchain(export_tflite, partial(export_tflite, fp16=True), quantize_tflite)
