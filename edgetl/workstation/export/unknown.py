"""Where a network's classes lie among its features, to tell pictures that are unlike them."""

import io
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from edgetl.core.errors import DataError
from edgetl.data.folders import Example
from edgetl.data.reading import read_pixels
from edgetl.evaluation.unknown import fit_class_statistics
from edgetl.runtime.preprocess import Pixels
from edgetl.runtime.softmax import class_logits
from edgetl.runtime.unknown import (
    ClassStatistics,
    Features,
    class_statistics_of,
    picture_features,
)
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.graph.feature_map import WithFeatureMap
from edgetl.workstation.export.graph.nodes import stacked
from edgetl.workstation.export.job import ExportJob

_BATCH = 32


def class_statistics_file(job: ExportJob, graph: DeployGraph) -> bytes:
    """Fit the statistics of the classes' features, in torch, to the network's training pictures.

    A network that was trained elsewhere has none: then to the pictures for calibration, each
    counted as of the class that the network takes it for.

    Args:
        job: the export.
        graph: has a `pool`, whose input are the features.

    Returns the npz file that a bundle holds.
    """

    def fit() -> bytes:
        known = job.pictures.training
        examples = known or job.pictures.calibration
        labels, logits, features = _run(job, graph, examples)
        classes = labels if known else class_logits(logits).argmax(axis=1)
        buffer = io.BytesIO()
        statistics = fit_class_statistics(features, classes)
        # Half precision takes half the space and moves distances by less than a thousandth.
        half = {
            "means": statistics.means.astype(np.float16),
            "directions": statistics.directions.astype(np.float16),
        }
        np.savez(buffer, allow_pickle=False, **(statistics._asdict() | half))
        return buffer.getvalue()

    return job.cache.get_or_compute("class-statistics", bytes, fit)


def read_statistics_file(content: bytes) -> ClassStatistics:
    """Read what `class_statistics_file` returned."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return class_statistics_of(arrays)


def _run(
    job: ExportJob, graph: DeployGraph, examples: Sequence[Example]
) -> tuple[NDArray[np.int64], NDArray[np.float32], Features]:
    """Return the readable pictures' labels, int64 [N], logits and features."""
    network = WithFeatureMap(graph, pool_last=False)
    labels: list[int] = []
    logits: list[NDArray[np.float32]] = []
    features: list[Features] = []
    waiting: list[Pixels] = []

    def run_waiting() -> None:
        with torch.inference_mode():
            outputs, maps = network(stacked(waiting))
        logits.append(outputs.numpy())
        features.append(np.stack([picture_features(each) for each in maps.numpy()]))
        waiting.clear()

    with job.progress.stage("class statistics", len(examples), "pictures") as shown:
        for example, pixels in read_pixels(examples, job.facts.preprocess):
            if not isinstance(pixels, DataError):
                labels.append(example.label)
                waiting.append(pixels)
            if len(waiting) == _BATCH:
                run_waiting()
            shown.advance()
        if waiting:
            run_waiting()
    if not labels:
        raise DataError(f"None of the {len(examples)} training pictures can be read.")
    return np.array(labels, np.int64), np.concatenate(logits), np.concatenate(features)
