"""What finished runs say of the pictures they kept for testing."""

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
    """A run's logits, float32 [N, C] at temperature 1, of its test part; truth int64 [N].

    `calibration`: the run's temperature, and what each of these pictures is judged at.
    """

    truth: NDArray[np.int64]
    logits: NDArray[np.float32]
    labels: tuple[str, ...]
    calibration: Calibration


def predict_test_part(run: Path, progress: Progress) -> FoldPredictions:
    """Ask a finished run's network about its test part, as at the end of training: in float32.

    Raises EdgetlError where the run is damaged or its pictures are gone.
    """
    network, facts = load_checkpoint(run)
    split = read_split(run / SPLITS_FILE)
    compute = Compute(load_recipe(str(run / RECIPE_FILE)))
    examples = resolve(split, split.test)
    pixels, _, _ = decode_all(examples, facts.preprocess, progress, stage="decoding test")
    compute.place(network.model)
    said = evaluate_network(network.model, pixels, facts.preprocess, compute, exact=True)
    calibration = (
        cross_fit(pixels.labels, said.logits)
        if facts.temperature_from == "test, cross-fitted"
        else fixed(facts.temperature, len(pixels), facts.temperature_from)
    )
    return FoldPredictions(pixels.labels, said.logits, facts.labels, calibration)
