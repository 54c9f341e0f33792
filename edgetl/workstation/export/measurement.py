"""Logits of the network and its artifacts for the held-out pictures, and their temperatures."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from edgetl.bundle.reports import TemperatureSource
from edgetl.evaluation.accuracy import Model, ModelLogits, one_by_one, predict_all
from edgetl.evaluation.temperature import Calibration, cross_fit, fixed
from edgetl.runtime.engines.spec import Engine
from edgetl.workstation.evaluate import torch_model
from edgetl.workstation.export.artifacts import ExportedArtifact
from edgetl.workstation.export.job import ExportJob
from edgetl.workstation.export.pictures import reader_of

TORCH = "torch"
_CROSS_FITTED: tuple[TemperatureSource, ...] = ("validation, cross-fitted", "test, cross-fitted")


class _StoredAnswers(NamedTuple):
    """One model's results as bytes: true classes, int64 [N], and logits, float32 [N, C]."""

    truth: bytes
    logits: bytes
    skipped: int


def measure(
    job: ExportJob, artifacts: Sequence[ExportedArtifact], engines: Mapping[str, Engine]
) -> ModelLogits:
    """Run the torch model and every artifact on the held-out pictures; return logits by name.

    Results of an earlier export are taken from the cache.
    """
    spec, held_out = job.facts.preprocess, job.pictures.held_out
    models: dict[str, Model] = {TORCH: torch_model(job.network, spec)}
    models |= {name: _batch_model(engine) for name, engine in engines.items()}
    keys = {TORCH: "answers-torch"} | {a.name: f"answers-{a.digest[:32]}" for a in artifacts}
    stored: dict[str, _StoredAnswers] = {
        name: result for name, key in keys.items() if (result := job.cache.get(key, _StoredAnswers))
    }
    missing = {name: model for name, model in models.items() if name not in stored}
    if missing:
        read = reader_of(held_out.part)
        answers = predict_all(
            missing, held_out.examples, spec, job.progress, stage="measuring", read=read
        )
        for name, logits in answers.logits.items():
            stored[name] = _StoredAnswers(
                answers.truth.tobytes(), logits.tobytes(), answers.skipped
            )
            job.cache.put(keys[name], stored[name])
    truth = np.frombuffer(stored[TORCH].truth, np.int64)
    return ModelLogits(
        truth,
        {
            name: np.frombuffer(stored[name].logits, np.float32).reshape(len(truth), -1)
            for name in models
        },
        stored[TORCH].skipped,
    )


def _batch_model(engine: Engine) -> Model:
    return one_by_one(lambda picture: engine(picture[np.newaxis])[0].copy())


def torch_calibration(job: ExportJob, answers: ModelLogits) -> Calibration:
    """Return the run's temperature, cross-fitted if it was fitted to the held-out pictures."""
    fitted_to, part = job.facts.temperature_from, job.pictures.held_out.part
    source: TemperatureSource
    if part == "val":
        source = "validation, cross-fitted"
    elif part == "test" and fitted_to == "test, cross-fitted":
        source = fitted_to
    else:
        return fixed(job.facts.temperature, len(answers.truth), fitted_to)
    crossed = cross_fit(answers.truth, answers.logits[TORCH], source)
    return crossed._replace(temperature=job.facts.temperature)


def artifact_calibration(
    artifact: ExportedArtifact, answers: ModelLogits, torch: Calibration
) -> Calibration:
    """Return an artifact's temperature: its own for int8 if one was fitted, else the run's."""
    if artifact.temperature is not None:
        return fixed(artifact.temperature, len(answers.truth), "validation")
    if artifact.attempts and torch.source in _CROSS_FITTED:
        return cross_fit(answers.truth, answers.logits[artifact.name], torch.source)
    return torch
