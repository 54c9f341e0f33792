"""Where a network's training pictures lie, to tell pictures that are unlike them."""

import io
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from edgetl.evaluation.unknown import fit_appearance_statistics, fit_class_statistics
from edgetl.runtime.appearance import appearance
from edgetl.runtime.preprocess import Pixels
from edgetl.runtime.softmax import Ints, class_logits
from edgetl.runtime.unknown import (
    ClassStatistics,
    TrainingStatistics,
    picture_features,
    training_statistics_of,
)
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.graph.feature_map import WithFeatureMap
from edgetl.workstation.export.graph.nodes import stacked
from edgetl.workstation.export.job import ExportJob
from edgetl.workstation.export.pictures import readable

_BATCH = 32


def training_statistics_file(job: ExportJob, graph: DeployGraph) -> bytes | None:
    """Fit the statistics of a network's training pictures: of their appearance and features.

    A network that was trained elsewhere has none: then of the pictures for calibration, each
    counted as of the class that the network takes it for.

    Args:
        job: the export.
        graph: the network. Where it has a `pool`, whose input are the features, it runs in torch;
            else there are no statistics of features.

    Returns the npz file that a bundle holds; None without pictures of either kind, as for a network
    that was trained elsewhere and is measured on labelled pictures.
    """
    chosen = job.pictures.training or job.pictures.calibration
    if not chosen:
        return None

    def fit() -> bytes:
        labels, pictures = readable(chosen, job.facts.preprocess)
        statistics = TrainingStatistics(
            fit_appearance_statistics(np.stack([appearance(each) for each in pictures])),
            _fit_classes(job, graph, labels, pictures) if graph.pool else None,
        )
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **statistics.arrays())
        return buffer.getvalue()

    return job.cache.get_or_compute(f"training-statistics-{graph.pool}", bytes, fit)


def read_statistics_file(content: bytes) -> TrainingStatistics:
    """Read what `training_statistics_file` returned."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return training_statistics_of(arrays)


def _fit_classes(
    job: ExportJob, graph: DeployGraph, labels: Ints, pictures: Sequence[Pixels]
) -> ClassStatistics:
    with job.progress.stage("training statistics", len(pictures), "pictures") as shown:
        batches = []
        for batch in _outputs(graph, pictures):
            batches.append(batch)
            shown.advance(len(batch[0]))
    logits, features = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    classes = labels if job.pictures.training else class_logits(logits).argmax(axis=1)
    return fit_class_statistics(features, classes)


def _outputs(
    graph: DeployGraph, pictures: Sequence[Pixels]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Yield the logits and the features of batches of pictures."""
    network = WithFeatureMap(graph, pool_last=False)
    for start in range(0, len(pictures), _BATCH):
        with torch.inference_mode():
            logits, maps = network(stacked(pictures[start : start + _BATCH]))
        yield logits.numpy(), np.stack([picture_features(each) for each in maps.numpy()])
