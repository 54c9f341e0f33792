"""Where a network's training pictures lie, to tell pictures that are unlike them."""

import io
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from edgetl.core.errors import DataError
from edgetl.data.folders import Example
from edgetl.data.reading import read_pixels
from edgetl.evaluation.unknown import fit_appearance_statistics, fit_class_statistics
from edgetl.runtime.appearance import appearance
from edgetl.runtime.preprocess import Pixels
from edgetl.runtime.softmax import class_logits
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
    if not _chosen(job):
        return None

    def fit() -> bytes:
        examples, pictures = _readable(job)
        statistics = TrainingStatistics(
            fit_appearance_statistics(np.stack([appearance(each) for each in pictures])),
            _fit_classes(job, graph, examples, pictures) if graph.pool else None,
        )
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **statistics.arrays())
        return buffer.getvalue()

    return job.cache.get_or_compute(f"training-statistics-{graph.pool}", bytes, fit)


def read_statistics_file(content: bytes) -> TrainingStatistics:
    """Read what `training_statistics_file` returned."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return training_statistics_of(arrays)


def _chosen(job: ExportJob) -> list[Example]:
    return job.pictures.training or job.pictures.calibration


def _readable(job: ExportJob) -> tuple[list[Example], list[Pixels]]:
    """The pictures that can be read, as the device prepares them. Raises DataError if none can."""
    chosen = _chosen(job)
    examples: list[Example] = []
    pictures: list[Pixels] = []
    for example, pixels in read_pixels(chosen, job.facts.preprocess):
        if not isinstance(pixels, DataError):
            examples.append(example)
            pictures.append(pixels)
    if not pictures:
        raise DataError(f"None of the {len(chosen)} training pictures can be read.")
    return examples, pictures


def _fit_classes(
    job: ExportJob, graph: DeployGraph, examples: Sequence[Example], pictures: Sequence[Pixels]
) -> ClassStatistics:
    with job.progress.stage("training statistics", len(pictures), "pictures") as shown:
        batches = []
        for batch in _outputs(graph, pictures):
            batches.append(batch)
            shown.advance(len(batch[0]))
    logits, features = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    if job.pictures.training:
        classes = np.array([example.label for example in examples], np.int64)
    else:
        classes = class_logits(logits).argmax(axis=1)
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
