"""A trained network -> every artifact asked for, as files in memory."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.core.console import native_chatter_dropped
from edgetl.core.errors import EdgetlError
from edgetl.core.manifest import Format, Rung, Scheme
from edgetl.core.metrics import expected_drop, fit_temperature
from edgetl.core.progress import Progress
from edgetl.pipeline.engines import asked, loaded
from edgetl.runtime.preprocess import Pixels

if TYPE_CHECKING:
    from edgetl.export.graph import DeployGraph
    from edgetl.quantize.ladder import Ladder
    from edgetl.quantize.plan import Plan

Files = tuple[bytes, ...]


class Product(NamedTuple):
    """An artifact's files, before they are measured and described.

    Attributes:
        rungs: of an int8 one, what was tried.
        temperature: fitted to its own answers; None: the run's.
    """

    format: Format
    scheme: Scheme
    files: Files
    rungs: tuple[Rung, ...] = ()
    temperature: float | None = None

    @property
    def name(self) -> str:
        """As in `Artifact.name`."""
        return f"{self.format}-{self.scheme}"


class Trial(NamedTuple):
    """What ways to int8 are tried on, and what they have to reach.

    Attributes:
        pictures: uint8 [H, W, 3] each.
        truth: their classes, int64 [N]; None where the network was trained on them or nobody
            knows.
        reference: the torch model's logits for them, float32 [N, C].
        temperature: what makes its probabilities calibrated.
        goal_pp: the most that may be expected to be lost, in points of top-1.
    """

    pictures: Sequence[Pixels]
    truth: NDArray[np.int64] | None
    reference: NDArray[np.float32]
    temperature: float
    goal_pp: float

    def most_varied(self) -> Pixels:
        """The picture that tells a network's tensors apart best: not a black one."""
        return max(self.pictures, key=lambda picture: float(picture.std()))


def checked_plan(
    formats: Sequence[Format], schemes: Sequence[Scheme]
) -> list[tuple[Format, Scheme]]:
    """What is to be made: formats in order, fp32 first. Raises EdgetlError where it is nothing."""
    with native_chatter_dropped():
        from edgetl.export import SCHEMES
    plan = [(name, scheme) for name in formats for scheme in SCHEMES[name] if scheme in schemes]
    if not plan:
        raise EdgetlError(f"None of {', '.join(formats)} comes in {', '.join(schemes)}.")
    return plan


def make_float(graph: "DeployGraph", name: Format, scheme: Scheme) -> Product:
    """The network in fp32 or fp16."""
    half = scheme == "fp16"
    if name == "onnx":
        from edgetl.export.onnx import export_onnx

        return Product(name, scheme, export_onnx(graph))
    if name == "openvino":
        from edgetl.export.openvino import export_openvino

        return Product(name, scheme, export_openvino(graph, fp16=half))
    from edgetl.export.tflite import export_tflite

    return Product(name, scheme, export_tflite(graph, fp16=half))


def make_int8(ladder: "Ladder", name: Format, trial: Trial, progress: Progress) -> Product:
    """The network in int8, by the cheapest way that reaches the goal in this format's own engine.

    Where none does, it is the way that came nearest.
    """
    tried: list[Product] = []
    for rung in ladder:
        with progress.stage(f"{name} int8", len(trial.pictures), "pictures") as shown:
            with native_chatter_dropped():
                files = write_int8(rung.plan, name, trial.most_varied())
            logits = asked(loaded(name, files), trial.pictures)
            shown.advance(len(logits), f"by '{rung.name}'")
        outcome = _outcome(rung.name, logits, trial)
        scheme: Scheme = "int8-mixed" if rung.mixed else "int8"
        temperature = None if trial.truth is None else fit_temperature(trial.truth, logits)
        tried.append(Product(name, scheme, files, (outcome,), temperature))
        if outcome.expected_drop_pp <= trial.goal_pp:
            break
        progress.say(
            f"{name} int8 by '{rung.name}': expected to lose {outcome.expected_drop_pp:.2f} points "
            f"of top-1, more than {trial.goal_pp:.2f}"
        )
    rungs = tuple(product.rungs[0] for product in tried)
    best = min(tried, key=lambda product: product.rungs[0].expected_drop_pp)
    return best._replace(rungs=rungs)


def write_int8(plan: "Plan", name: Format, picture: Pixels) -> Files:
    """One format's file of a planned int8 network."""
    if name == "tflite":
        from edgetl.export.tflite import export_tflite
        from edgetl.quantize.tflite import quantize_tflite

        return quantize_tflite(export_tflite(plan.graph), plan, picture)  # type: ignore[arg-type]
    from edgetl.export.onnx import export_onnx
    from edgetl.quantize.onnx import quantize_onnx

    simulated = export_onnx(plan.simulated())  # type: ignore[arg-type]
    if name == "onnx":
        return quantize_onnx(simulated)
    from edgetl.export.openvino import openvino_from_onnx

    return openvino_from_onnx(quantize_onnx(simulated, for_openvino=True))


def _outcome(way: str, logits: NDArray[np.float32], trial: Trial) -> Rung:
    lost = expected_drop(logits, trial.reference, trial.temperature)
    return Rung(
        name=way,
        images=len(lost),
        expected_drop_pp=round(100 * float(lost.mean()), 4),
        agreement=float((logits.argmax(1) == trial.reference.argmax(1)).mean()),
    )
