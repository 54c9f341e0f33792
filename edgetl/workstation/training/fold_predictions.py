"""The predictions of finished runs on their test parts."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.core.progress import Progress
from edgetl.data.split import SPLITS_FILE, read_split, resolve
from edgetl.evaluation.temperature import Calibration, cross_fit, fixed
from edgetl.workstation.backbones.checkpoint import load_checkpoint
from edgetl.workstation.recipe import RECIPE_FILE, load_recipe
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.pixel_cache import decode_all
from edgetl.workstation.training.scoring import evaluate_network


class FoldPredictions(NamedTuple):
    """A run's logits for its test part.

    Attributes:
        truth: class indices, int64 [N].
        logits: float32 [N, C], at temperature 1.
        labels: the class names.
        calibration: the run's temperature, and the one that each picture is evaluated at.
    """

    truth: NDArray[np.int64]
    logits: NDArray[np.float32]
    labels: tuple[str, ...]
    calibration: Calibration


def predict_test_part(run: Path, progress: Progress) -> FoldPredictions:
    """Predict a finished run's test part in float32, as at the end of training.

    Raises EdgetlError if the run is damaged or its pictures are missing.
    """
    network, facts = load_checkpoint(run)
    split = read_split(run / SPLITS_FILE)
    compute = Compute(load_recipe(str(run / RECIPE_FILE)))
    examples = resolve(split, split.test)
    pixels, _, _ = decode_all(examples, facts.preprocess, progress, stage="decoding test")
    compute.place(network.model)
    evaluation = evaluate_network(network.model, pixels, facts.preprocess, compute, exact=True)
    calibration = (
        cross_fit(pixels.labels, evaluation.logits)
        if facts.temperature_from == "test, cross-fitted"
        else fixed(facts.temperature, len(pixels), facts.temperature_from)
    )
    return FoldPredictions(pixels.labels, evaluation.logits, facts.labels, calibration)
