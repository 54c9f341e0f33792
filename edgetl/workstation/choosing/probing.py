"""Estimating a candidate's accuracy without training it: a linear probe, cross-validated.

How well a linear classifier of frozen features does ranks networks much as fine-tuning does
(Kornblith et al. 2019, "Do Better ImageNet Models Transfer Better?", section 4).
"""

import time
from collections.abc import Sequence

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgetl.core.progress import Progress, Silent
from edgetl.data.folders import Example
from edgetl.data.split import pick_balanced
from edgetl.evaluation.metrics import top1_interval
from edgetl.workstation.choosing.decide import by_latency
from edgetl.workstation.choosing.results import Accuracy, Candidate, Result
from edgetl.workstation.export.cache import ExportCache, picture_identity
from edgetl.workstation.recipe import Recipe
from edgetl.workstation.training.batch_norm import recalibrate_batch_norm
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.freezing import Freezing
from edgetl.workstation.training.initial_network import make_initial_network
from edgetl.workstation.training.linear_probe import cached_features, fit_linear
from edgetl.workstation.training.loss import class_weights
from edgetl.workstation.training.pixel_cache import decode_all

_FOLDS = 5
_TRIED = 200  # pictures of the candidate that is timed
# Scores are kept by the number of pictures: a few numbers, so that a later call finds them.
_IMAGES = (1000, 700, 400, 300, 200, 150, 100)


class Prober:
    """Probes candidates; each score is stored in edgetl's cache.

    Args:
        recipe: the probe's settings.
        train: the training pictures, with every class among them.
        classes: the number of classes.
        compute: device and precision.
        progress: where to show how far it is.

    Attributes:
        count: how many training pictures there are.
    """

    def __init__(
        self,
        recipe: Recipe,
        train: Sequence[Example],
        classes: int,
        compute: Compute,
        progress: Progress,
    ) -> None:
        self._recipe, self._train, self._classes = recipe, list(train), classes
        self._compute, self._progress = compute, progress
        pictures = [picture_identity(example) for example in train]
        depends_on = ("probes", recipe, compute.described, pictures)
        self._cache = ExportCache(depends_on, progress)
        self.count = len(self._train)
        self._rate: float | None = None

    def probe(
        self, results: Sequence[Result], images: int, within_s: float | None, stage: str
    ) -> list[Result]:
        """Probe candidates on at most this many training pictures, the same for all.

        Fewer, but at least 100, are taken where more would need longer than `within_s`.

        Raises EdgetlError if weights do not fit, or no picture can be read.
        """
        images = self._affordable(results, images, within_s)
        chosen = pick_balanced(self._train, images, self._recipe.seed)
        probed = []
        with self._progress.stage(stage, len(results), "candidates") as shown:
            for result in results:
                score = self._score(result.candidate, chosen)
                probed.append(msgspec.structs.replace(result, probe=score))
                shown.advance(1, f"{result.name} {score.top1:.1%}")
        return probed

    def _affordable(self, results: Sequence[Result], images: int, within_s: float | None) -> int:
        """How many pictures can be probed in time; a probe takes a time as the inference does."""
        if within_s is None or not results:
            return images
        if self._rate is None:
            middle = by_latency(results)[len(results) // 2]
            chosen = pick_balanced(self._train, min(images, _TRIED), self._recipe.seed)
            started = time.monotonic()
            self._cross_validated(middle.candidate, chosen)
            self._rate = (time.monotonic() - started) / (len(chosen) * middle.cost.inference_ms)
        each_s = self._rate * sum(result.cost.inference_ms for result in results)
        fitting = (n for n in _IMAGES if n <= images and min(n, self.count) * each_s <= within_s)
        return next(fitting, min(images, _IMAGES[-1]))

    def _score(self, candidate: Candidate, chosen: Sequence[Example]) -> Accuracy:
        if candidate.weights != "imagenet":  # a file: its content is not known here
            return self._cross_validated(candidate, chosen)
        return self._cache.get_or_compute(
            f"{candidate.file_name}-{len(chosen)}",
            Accuracy,
            lambda: self._cross_validated(candidate, chosen),
        )

    def _cross_validated(self, candidate: Candidate, chosen: Sequence[Example]) -> Accuracy:
        """Cross-validate a linear probe of a candidate's features in five folds.

        The network is prepared as for training: its batch norms are re-estimated on the pictures.
        """
        own, compute = candidate.recipe(self._recipe), self._compute
        start = make_initial_network(own, self._classes, Silent())
        network, spec = start.network, start.preprocess
        pixels, _, _ = decode_all(chosen, spec, Silent(), stage="decoding")
        compute.place(network.model)
        Freezing(network, own.finetune).adaptation_mode(network.model)
        recalibrate_batch_norm(network, pixels, spec, compute, seed=own.seed)
        seen = cached_features(network, pixels, spec, compute, Silent())
        right = _right(seen, pixels.labels, own, self._classes, compute)
        return Accuracy(top1=float(right.mean()), images=len(right), interval=top1_interval(right))


def _right(
    seen: Tensor, labels: NDArray[np.int64], recipe: Recipe, classes: int, compute: Compute
) -> NDArray[np.bool_]:
    """Whether each picture is classified correctly by a probe that was fitted without it."""
    folds = _folds(labels, recipe.seed)
    right = np.zeros(len(labels), bool)
    for fold in range(_FOLDS):
        outside, inside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        weights = class_weights(labels[outside], classes, recipe.finetune.imbalance)
        weight, bias = fit_linear(
            seen[torch.from_numpy(outside)],
            labels[outside],
            recipe.probe,
            weights.to(compute.device),
            compute,
        )
        logits = seen[torch.from_numpy(inside)].to(compute.device) @ weight.T + bias
        right[inside] = logits.argmax(1).cpu().numpy() == labels[inside]
    return right


def _folds(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Each picture's fold, int64 [N]: those of a class are dealt to the folds in turn."""
    order = np.random.default_rng(seed).permutation(len(labels))
    sorted_order = order[np.argsort(labels[order], kind="stable")]
    folds = np.empty(len(labels), np.int64)
    folds[sorted_order] = np.arange(len(labels)) % _FOLDS
    return folds
