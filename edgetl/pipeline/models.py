"""Runs and bundles behind one seam, so that the same code scores both."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.core.errors import EdgetlError
from edgetl.core.preprocess import Preprocess
from edgetl.pipeline.installed import require_workshop
from edgetl.runtime.classifier import Classifier
from edgetl.runtime.preprocess import Pixels
from edgetl.verify.accuracy import Model, one_by_one

if TYPE_CHECKING:
    from edgetl.backbones.build import Network


class Scorable(NamedTuple):
    """A model, what it expects, what to call it, and the temperature of its probabilities."""

    model: Model
    preprocess: Preprocess
    labels: tuple[str, ...]
    name: str
    temperature: float


def open_scorable(target: Path, artifact: str | None, engine: str) -> Scorable:
    """A run folder (through torch) or a bundle (through an engine). Raises EdgetlError."""
    if not target.is_dir():
        classifier = Classifier(target, engine=engine, artifact=artifact)
        return Scorable(
            one_by_one(classifier.logits),
            classifier.preprocess,
            classifier.labels,
            f"{classifier.artifact.name} through {classifier.engine_version}",
            classifier.temperature,
        )
    if artifact or engine != "auto":
        raise EdgetlError(
            f"'{target}' is a run; --artifact and --engine belong to a bundle.",
            hint="make one with `edgetl export`, or leave them away.",
        )
    require_workshop("train")
    from edgetl.backbones.checkpoint import load_checkpoint

    network, facts = load_checkpoint(target)
    model = torch_model(network, facts.preprocess)
    return Scorable(
        model,
        facts.preprocess,
        facts.labels,
        f"{facts.backbone} through torch",
        facts.temperature,
    )


def torch_model(network: "Network", spec: Preprocess) -> Model:
    """The trained network itself, in float32 on the CPU."""
    import torch

    from edgetl.backbones.build import class_logits

    mean = torch.tensor(spec.mean).view(1, 3, 1, 1)
    std = torch.tensor(spec.std).view(1, 3, 1, 1)

    def logits(pixels: Pixels) -> NDArray[np.float32]:
        batch = torch.tensor(pixels).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            answer: NDArray[np.float32] = class_logits(network.model((batch - mean) / std)).numpy()
        return answer

    return logits
