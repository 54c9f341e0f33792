"""A teacher that was never fine-tuned: its features stay, and a linear probe learns the labels.

Computing a large network's features takes minutes, so they are kept in edgetl's cache: the next
student of the same teacher on the same pictures only fits the probe.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from edgetl.core.errors import EdgetlError
from edgetl.core.files import atomic_write, cache_folder, make_folder
from edgetl.core.progress import Progress
from edgetl.data.folders import Example
from edgetl.data.split import Parts
from edgetl.workstation.recipe import Recipe
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.linear_probe import cached_features, fit_linear, install_head
from edgetl.workstation.training.loss import class_weights
from edgetl.workstation.training.pixel_cache import decode_all, picture_identity
from edgetl.workstation.training.teaching.teacher import FoundTeacher

# Raised when features are computed in another way, so that older ones are not used.
_VERSION = "1"


def fit_probe(
    teacher: FoundTeacher, parts: Parts, recipe: Recipe, compute: Compute, progress: Progress
) -> FoundTeacher:
    """Fit the teacher's head to the labelled training pictures; changes its network in place.

    Returns it with its top-1 on the test pictures, if there are any.

    Args:
        teacher: with a head that knows nothing yet.
        parts: the run's pictures; only readable ones.
        recipe: the settings of the probe, and of imbalanced classes.
        compute: device and precision.
        progress: where to show how far it is.
    """
    compute.place(teacher.network.model)
    examples = [*parts.train, *parts.test]
    seen = _features(teacher, examples, compute, progress)
    labels = np.array([example.label for example in examples], np.int64)
    count = len(parts.train)
    weights = class_weights(labels[:count], len(parts.labels), recipe.finetune.imbalance)
    weight, bias = fit_linear(
        seen[:count], labels[:count], recipe.probe, weights.to(compute.device), compute
    )
    install_head(teacher.network, weight, bias)
    if not parts.test:
        return teacher._replace(needs_probe=False)
    logits = seen[count:].to(compute.device) @ weight.T + bias
    right = logits.argmax(1).cpu().numpy() == labels[count:]
    facts = msgspec.structs.replace(teacher.facts, top1=float(right.mean()))
    return teacher._replace(facts=facts, needs_probe=False)


def _features(
    teacher: FoundTeacher, examples: Sequence[Example], compute: Compute, progress: Progress
) -> Tensor:
    """The features of pictures, float32 [N, features], from the cache if they are there."""
    path = _cache_file(teacher, examples, compute)
    width = teacher.network.head().in_features
    # A file that is missing, damaged or of another shape is made anew.
    with suppress(OSError, KeyError, safetensors.SafetensorError):
        kept = safetensors.torch.load_file(path)["features"]
        if kept.shape == (len(examples), width) and kept.dtype == torch.float32:
            path.touch()  # its time of last use is now
            return kept
    pixels, readable, _ = decode_all(examples, teacher.spec, progress, stage="decoding, teacher")
    if len(readable) < len(examples):  # they could be read when the student's were decoded
        raise EdgetlError("Pictures were changed while they were read.", hint="start again.")
    seen = cached_features(teacher.network, pixels, teacher.spec, compute, progress)
    make_folder(path.parent)
    with atomic_write(path) as file:
        file.write(safetensors.torch.save({"features": seen.contiguous()}))
    return seen


def _cache_file(teacher: FoundTeacher, examples: Sequence[Example], compute: Compute) -> Path:
    facts, spec = teacher.facts, teacher.spec
    precision = "bf16" if compute.bf16 else "fp32"
    digest = hashlib.sha256(
        f"{_VERSION} {facts.backbone} {facts.sha256} {spec} {compute.device.type} "
        f"{precision}".encode()
    )
    for example in examples:
        digest.update(picture_identity(example.path).encode())
    return cache_folder() / "features" / f"{digest.hexdigest()[:32]}.safetensors"
