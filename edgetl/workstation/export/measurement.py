"""Measures the network and its artifacts: logits for held-out pictures, temperatures, samples."""

import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgetl.benchmarking.latency import MIN_CALLS, WARM_UP_CALLS, time_calls
from edgetl.bundle.manifest import FeatureMap, UnknownRule
from edgetl.bundle.profile import Profile
from edgetl.bundle.reports import ForeignScore, TemperatureSource
from edgetl.data.split import pick_balanced
from edgetl.evaluation.accuracy import Model, ModelLogits, predict_all
from edgetl.evaluation.profile import measure_profile
from edgetl.evaluation.temperature import Calibration, cross_fit, fixed
from edgetl.evaluation.unknown import (
    fit_rule,
    score_foreign,
    strangeness,
    with_distances,
)
from edgetl.runtime.engines.registry import Engine, load_engine
from edgetl.runtime.engines.spec import Files
from edgetl.runtime.preprocess import Pixels
from edgetl.runtime.unknown import TrainingDistance
from edgetl.runtime.unknown_rule import Strangeness, limits_of
from edgetl.workstation.export.artifacts import (
    ExportedArtifact,
    engine_logits,
    load_measuring_engine,
)
from edgetl.workstation.export.formats.registry import FORMATS
from edgetl.workstation.export.job import ExportJob
from edgetl.workstation.export.pictures import prepared, reader_of
from edgetl.workstation.export.unknown import read_statistics_file
from edgetl.workstation.torch_model import torch_model

TORCH = "torch"
GOLDEN_SAMPLES = 8
_COMPARED = 32
_CROSS_FITTED: tuple[TemperatureSource, ...] = ("validation, cross-fitted", "test, cross-fitted")


class Measurement(NamedTuple):
    """What an export measured, by the artifact's name; the torch model's name is `TORCH`.

    Attributes:
        answers: logits of the torch model and of every artifact for the held-out pictures.
        calibrations: their temperatures.
        engines: what each artifact was measured with, e.g. "onnxruntime 1.31.1".
        golden: `golden.npz`: a few held-out pictures, uint8, and every artifact's logits, float32.
        feature_maps: those of the artifacts that have one, and what they cost.
        unknown: when each artifact answers "unknown".
        profiles: how each artifact answered the held-out pictures.
    """

    answers: ModelLogits
    calibrations: dict[str, Calibration]
    engines: dict[str, str]
    golden: bytes
    feature_maps: dict[str, FeatureMap]
    unknown: dict[str, UnknownRule]
    profiles: dict[str, Profile]


class _StoredAnswers(NamedTuple):
    """One model's results as bytes: true classes, int64 [N], and logits, float32 [N, C].

    An artifact's logits have further columns: the distances to the training pictures.
    """

    truth: bytes
    logits: bytes
    skipped: int


def measure(
    job: ExportJob, artifacts: Sequence[ExportedArtifact], statistics: bytes | None
) -> Measurement:
    """Measure the torch model and every artifact, each in the engine of its format.

    Args:
        job: the export.
        artifacts: what to measure.
        statistics: of the training pictures (`ArtifactBuilder.training_statistics`); without them
            the confidence alone tells unknown pictures.
    """
    engines = {a.name: load_measuring_engine(a.format, a.files) for a in artifacts}
    distance = TrainingDistance(read_statistics_file(statistics)) if statistics else None
    models = {name: _model(engine, distance) for name, engine in engines.items()}
    results = _run(job, artifacts, models)
    classes = len(job.facts.labels)
    answers = results._replace(
        logits={name: outputs[:, :classes] for name, outputs in results.logits.items()}
    )
    torch = _torch_calibration(job, answers)
    calibrations = {TORCH: torch} | {a.name: _calibration(a, answers, torch) for a in artifacts}
    own = {
        name: strangeness(results.logits[name], calibrations[name].temperature, classes)
        for name in models
    }
    rules = {
        name: fit_rule(
            own[name], answers.truth, answers.predicted(name), job.pictures.held_out.part
        )
        for name in models
    }
    return Measurement(
        answers,
        calibrations,
        {a.name: f"{FORMATS[a.format].engine} {engines[a.name].version}" for a in artifacts},
        _golden_samples(job, engines),
        {a.name: _feature_map(job, a, a.plain) for a in artifacts if a.plain},
        _score_on_foreign(job, rules, own, models, calibrations) if job.foreign else rules,
        {
            name: measure_profile(
                own[name], answers.predicted(name), classes, limits_of(rules[name])
            )
            for name in models
        },
    )


def _run(
    job: ExportJob, artifacts: Sequence[ExportedArtifact], models: Mapping[str, Model]
) -> ModelLogits:
    """Run the torch model and every artifact's on the held-out pictures.

    Results of an earlier export are taken from the cache.
    """
    spec, held_out = job.facts.preprocess, job.pictures.held_out
    everyone = {TORCH: torch_model(job.network, spec), **models}
    keys = {TORCH: "answers-torch"} | {a.name: f"answers-{a.digest[:32]}" for a in artifacts}
    stored: dict[str, _StoredAnswers] = {
        name: result for name, key in keys.items() if (result := job.cache.get(key, _StoredAnswers))
    }
    missing = {name: model for name, model in everyone.items() if name not in stored}
    if missing:
        read = reader_of(held_out.part)
        results = predict_all(
            missing, held_out.examples, spec, job.progress, stage="measuring", read=read
        )
        for name, logits in results.logits.items():
            stored[name] = _StoredAnswers(
                results.truth.tobytes(), logits.tobytes(), results.skipped
            )
            job.cache.put(keys[name], stored[name])
    truth = np.frombuffer(stored[TORCH].truth, np.int64)
    return ModelLogits(
        truth,
        {
            name: np.frombuffer(stored[name].logits, np.float32).reshape(len(truth), -1)
            for name in everyone
        },
        stored[TORCH].skipped,
    )


def _model(engine: Engine, distance: TrainingDistance | None) -> Model:
    """A model whose outputs are `_StoredAnswers.logits`."""

    def outputs(picture: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        logits, feature_map = engine.explain(picture[np.newaxis])
        return logits[0], feature_map

    return with_distances(outputs, distance)


def _score_on_foreign(
    job: ExportJob,
    rules: Mapping[str, UnknownRule],
    own: Mapping[str, Strangeness],
    models: Mapping[str, Model],
    calibrations: Mapping[str, Calibration],
) -> dict[str, UnknownRule]:
    """Add to each artifact's rule for unknown pictures how it does on foreign ones."""
    foreign = predict_all(
        models, job.foreign, job.facts.preprocess, job.progress, stage="foreign pictures"
    )
    classes = len(job.facts.labels)

    def score(name: str, rule: UnknownRule) -> ForeignScore:
        theirs = strangeness(foreign.logits[name], calibrations[name].temperature, classes)
        return score_foreign(job.foreign_name, own[name], theirs, limits_of(rule))

    return {
        name: msgspec.structs.replace(rule, foreign=score(name, rule))
        for name, rule in rules.items()
    }


def _torch_calibration(job: ExportJob, answers: ModelLogits) -> Calibration:
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


def _calibration(
    artifact: ExportedArtifact, answers: ModelLogits, torch: Calibration
) -> Calibration:
    """Return an artifact's temperature: its own for int8 if one was fitted, else the run's."""
    if artifact.temperature is not None:
        return fixed(artifact.temperature, len(answers.truth), "validation")
    if artifact.attempts and torch.source in _CROSS_FITTED:
        return cross_fit(answers.truth, answers.logits[artifact.name], torch.source)
    return torch


def _feature_map(job: ExportJob, artifact: ExportedArtifact, plain_files: Files) -> FeatureMap:
    """Compare an artifact with the same one without its feature map.

    Both run on one thread: idle threads of one engine may spin, and slow down the other.
    """

    def compare() -> FeatureMap:
        name = FORMATS[artifact.format].engine
        engine, plain = (
            load_engine(name, files, threads=1) for files in (artifact.files, plain_files)
        )
        picked = pick_balanced(job.pictures.held_out.examples, _COMPARED, seed=0)
        pictures = prepared(picked, job.facts.preprocess)
        _, maps = engine.explain(pictures[0][np.newaxis])
        assert maps is not None
        height, width, channels = maps.shape
        differ = np.abs(engine_logits(engine, pictures) - engine_logits(plain, pictures)).max()
        return FeatureMap(
            shape=(height, width, channels),
            added_bytes=sum(map(len, artifact.files)) - sum(map(len, plain_files)),
            added_ms=round(_added_ms(engine, plain, pictures[0]), 4),
            logits_differ=float(differ),
        )

    return job.cache.get_or_compute(f"map-{artifact.digest[:32]}", FeatureMap, compare)


def _added_ms(engine: Engine, plain: Engine, picture: Pixels) -> float:
    """How much longer `engine` takes than `plain`: the median over pairs of calls, in turns."""
    calls = [partial(each, picture[np.newaxis]) for each in (engine, plain)]
    pairs = [
        [time_calls(call, calls=1, warm_up=0).p50_ms for call in calls]
        for _ in range(WARM_UP_CALLS + MIN_CALLS)
    ]
    ours, others = np.array(pairs[WARM_UP_CALLS:]).T
    return float(np.median(ours - others))


def _golden_samples(job: ExportJob, engines: Mapping[str, Engine]) -> bytes:
    picked = pick_balanced(job.pictures.held_out.examples, 2 * GOLDEN_SAMPLES, seed=0)
    pixels = prepared(picked, job.facts.preprocess)[:GOLDEN_SAMPLES]
    arrays = {name: engine_logits(engine, pixels) for name, engine in engines.items()}
    return golden_file(pixels, arrays)


def golden_file(pixels: Sequence[Pixels], logits: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Write `golden.npz`.

    Args:
        pixels: the inputs, uint8 [H, W, 3] each.
        logits: what each artifact outputs for them, float32 [N, C], by its name.
    """
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, inputs=np.stack(pixels), **dict(logits))
    return buffer.getvalue()
