"""Builds the artifacts of a run: its network in each format and scheme, as files in memory."""

import hashlib
import itertools
from collections.abc import Sequence
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.manifest import QuantizationAttempt, Scheme
from edgetl.bundle.reports import LayerSensitivity
from edgetl.core.console import suppress_native_output
from edgetl.core.errors import EdgetlError
from edgetl.evaluation.metrics import expected_drop
from edgetl.evaluation.temperature import fit_temperature
from edgetl.runtime.classifier import checked_threads
from edgetl.runtime.engines.registry import Engine, load_engine
from edgetl.runtime.engines.spec import Files
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.backbones.catalogue import BACKBONES
from edgetl.workstation.export.formats.registry import FORMATS
from edgetl.workstation.export.formats.spec import OperatorPrecision, summarise_precision
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.graph.feature_map import PooledHead, find_pooled_head, with_pool
from edgetl.workstation.export.int8.ladder import QuantizationCandidate, QuantizationLadder
from edgetl.workstation.export.int8.ranges import SYMMETRIC_ZERO
from edgetl.workstation.export.job import ExportJob
from edgetl.workstation.export.pictures import calibration_pixels, prepared, readable, reader_of
from edgetl.workstation.export.unknown import training_statistics_file
from edgetl.workstation.torch_model import torch_model


class ExportedArtifact(NamedTuple):
    """An artifact's files, before they are measured and described.

    Attributes:
        attempts: the candidates that were evaluated, for int8; empty for float artifacts.
        temperature: fitted to the artifact's own logits on labelled trial pictures; None: it was
            not fitted.
        precision: which part of an int8 artifact runs in int8; None if the engine cannot tell.
        plain: the files without the feature map, to compare with; None: it has no feature map.
    """

    format: str
    scheme: Scheme
    files: Files
    attempts: tuple[QuantizationAttempt, ...] = ()
    temperature: float | None = None
    precision: OperatorPrecision | None = None
    plain: Files | None = None

    @property
    def name(self) -> str:
        """The format and scheme, e.g. "onnx-int8", the same as `Artifact.name`."""
        return f"{self.format}-{self.scheme}"

    @property
    def digest(self) -> str:
        """The hex sha256 of the concatenated files."""
        return hashlib.sha256(b"".join(self.files)).hexdigest()

    def member_names(self) -> list[str]:
        """The names of the files inside the bundle."""
        return [f"artifacts/{self.name}.{suffix}" for suffix in FORMATS[self.format].suffixes]


class _Tried(NamedTuple):
    """The artifact of one step of the ladder for one format; None: the ladder has no such step."""

    artifact: ExportedArtifact | None


class Trial(NamedTuple):
    """The pictures that candidates for int8 are evaluated on, with the float network's logits.

    Attributes:
        pictures: uint8 [H, W, 3] each.
        truth: their classes, int64 [N]; None if they are unknown or the network was trained on
            these pictures.
        reference: the torch model's logits for them, float32 [N, C].
        temperature: the torch model's, by which its logits are divided before softmax.
    """

    pictures: Sequence[Pixels]
    truth: NDArray[np.int64] | None
    reference: NDArray[np.float32]
    temperature: float

    def most_varied(self) -> Pixels:
        """The picture of largest standard deviation: it makes a network's tensors differ most."""
        return max(self.pictures, key=lambda picture: float(picture.std()))


def plan_artifacts(formats: Sequence[str], schemes: Sequence[Scheme]) -> list[tuple[str, Scheme]]:
    """List (format, scheme) of each artifact to make. Raises EdgetlError if there is none."""
    plan = [
        (name, scheme) for name in formats for scheme in FORMATS[name].schemes if scheme in schemes
    ]
    if not plan:
        raise EdgetlError(f"None of {', '.join(formats)} comes in {', '.join(schemes)}.")
    return plan


def load_measuring_engine(format_: str, files: Files) -> Engine:
    """Load an artifact's files into the engine that its format is measured with."""
    return load_engine(FORMATS[format_].engine, files, threads=checked_threads(None))


def engine_logits(engine: Engine, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
    """Compute logits, float32 [N, C], of pictures, uint8 [H, W, 3], one by one as on a device."""
    return np.concatenate([engine(picture[np.newaxis]).copy() for picture in pictures])


class ArtifactBuilder:
    """Builds a job's artifacts; those of an earlier export are taken from its cache.

    Args:
        job: the export.
        feature_map: whether artifacts output their last feature map, too; None: if the network has
            one to export.

    Attributes:
        head: where the network pools its last feature map, and the weights behind it; None if
            artifacts do not output it.

    Raises EdgetlError if `feature_map` is set, and the network has none to export.
    """

    def __init__(self, job: ExportJob, *, feature_map: bool | None) -> None:
        self._job = job
        self.head = None if feature_map is False else find_pooled_head(self._graph)
        if feature_map and self.head is None:
            raise _no_pooled_head(job)

    def build(self, plan: Sequence[tuple[str, Scheme]], goal_pp: float) -> list[ExportedArtifact]:
        """Build every artifact of a plan, and return them in its order.

        Args:
            plan: (format, scheme) of each artifact.
            goal_pp: the largest expected loss of int8 that is accepted, in points of top-1;
                above it costlier candidates are tried.
        """
        floats = [entry for entry in plan if entry[1] != "int8"]
        made: dict[tuple[str, Scheme], ExportedArtifact] = {}
        if floats:
            with self._job.progress.stage("exporting", len(floats), "artifacts") as stage:
                for name, scheme in floats:
                    made[name, scheme] = self._float(name, scheme)
                    stage.advance(1, made[name, scheme].name)
        for name, scheme in plan:
            if scheme == "int8":
                made[name, scheme] = self._int8(name, goal_pp)
        return [made[entry] for entry in plan]

    def training_statistics(self) -> bytes | None:
        """Where the training pictures lie, as a npz file (`training_statistics_file`)."""
        return training_statistics_file(self._job, with_pool(self._graph, self.head))

    def layer_sensitivities(self) -> tuple[LayerSensitivity, ...]:
        """Measure what int8 costs each layer; worst first."""
        return self._job.cache.get_or_compute(
            "sensitivities",
            tuple[LayerSensitivity, ...],
            lambda: tuple(self._ladder.sensitivities()),
        )

    def _float(self, name: str, scheme: Scheme) -> ExportedArtifact:
        """Build the network in fp32 or fp16."""

        def write(head: PooledHead | None) -> ExportedArtifact:
            with suppress_native_output():
                files = FORMATS[name].write_float(with_pool(self._graph, head), scheme)
            return ExportedArtifact(name, scheme, files)

        def built(head: PooledHead | None) -> ExportedArtifact:
            return self._job.cache.get_or_compute(
                f"{name}-{scheme}{_suffix(head)}", ExportedArtifact, partial(write, head)
            )

        artifact = built(self.head)
        return artifact._replace(plain=built(None).files) if self.head else artifact

    def _int8(self, name: str, goal_pp: float) -> ExportedArtifact:
        """Build the network in int8 by the cheapest step that reaches the goal in its engine.

        If no step does, return the artifact with the smallest expected loss.
        """
        candidates: list[ExportedArtifact] = []
        for index in itertools.count():
            candidate = self._candidate(name, index)
            if candidate is None:
                break
            candidates.append(candidate)
            (attempt,) = candidate.attempts
            if attempt.expected_drop_pp <= goal_pp:
                break
            self._job.progress.say(
                f"{name} int8 by '{attempt.name}': expected to lose "
                f"{attempt.expected_drop_pp:.2f} points of top-1, more than {goal_pp:.2f}"
            )
        attempts = tuple(artifact.attempts[0] for artifact in candidates)
        best = min(candidates, key=lambda artifact: artifact.attempts[0].expected_drop_pp)
        return best._replace(
            attempts=attempts,
            precision=self._precision(best),
            plain=self._plain_int8(name, candidates.index(best)) if self.head else None,
        )

    def _candidate(self, name: str, index: int) -> ExportedArtifact | None:
        """Return the artifact of the ladder's step `index`, from 0; None if there is no such step.

        It also outputs the feature map, if the network has one to export.
        """
        key = f"{name}-int8-{index}{_suffix(self.head)}"
        return self._job.cache.get_or_compute(key, _Tried, partial(self._try, name, index)).artifact

    def _try(self, name: str, index: int) -> _Tried:
        """Build a format's files by the ladder's step `index`, from 0, and evaluate them."""
        candidate = self._step(index)
        if candidate is None:
            return _Tried(None)
        trial = self._trial
        with self._job.progress.stage(f"{name} int8", len(trial.pictures), "pictures") as stage:
            files = self._write_int8(name, candidate, self.head)
            logits = engine_logits(load_measuring_engine(name, files), trial.pictures)
            stage.advance(len(logits), f"by '{candidate.name}'")
        scheme: Scheme = "int8-mixed" if candidate.mixed else "int8"
        temperature = None if trial.truth is None else fit_temperature(trial.truth, logits)
        attempt = _attempt(candidate.name, logits, trial)
        return _Tried(ExportedArtifact(name, scheme, files, (attempt,), temperature))

    def _plain_int8(self, name: str, index: int) -> Files:
        """Return the files of the ladder's step `index`, from 0, without the feature map."""

        def write() -> Files:
            candidate = self._step(index)
            assert candidate
            return self._write_int8(name, candidate, None)

        return self._job.cache.get_or_compute(f"{name}-int8-{index}-plain", Files, write)

    def _write_int8(
        self, name: str, candidate: QuantizationCandidate, head: PooledHead | None
    ) -> Files:
        plan = candidate.plan._replace(graph=with_pool(candidate.plan.graph, head))
        with suppress_native_output():
            return FORMATS[name].write_int8(plan, self._trial.most_varied())

    def _step(self, index: int) -> QuantizationCandidate | None:
        """Return the ladder's step `index`, from 0; None if there is no such step."""
        return next(itertools.islice(self._ladder, index, None), None)

    def _precision(self, artifact: ExportedArtifact) -> OperatorPrecision | None:
        """Return which part of an int8 artifact runs in int8; None if the engine cannot tell."""
        operators = FORMATS[artifact.format].operators
        if operators is None:
            return None
        return self._job.cache.get_or_compute(
            f"precision-{artifact.digest[:32]}",
            OperatorPrecision,
            lambda: summarise_precision(operators(artifact.files)),
        )

    @cached_property
    def _graph(self) -> DeployGraph:
        spec = self._job.facts.preprocess
        size = (spec.size_px, spec.size_px)
        return DeployGraph(self._job.network.model, mean=spec.mean, std=spec.std, size=size)

    @cached_property
    def _ladder(self) -> QuantizationLadder:
        job, spec = self._job, self._job.facts.preprocess
        zero = SYMMETRIC_ZERO if job.constraints.symmetric else None
        return QuantizationLadder(
            self._graph.with_whole_pixels(zero),
            calibration_pixels(job.pictures, spec, job.progress),
            partial(prepared, job.pictures.tuning, spec),
            job.progress,
            constraints=job.constraints,
        )

    @cached_property
    def _trial(self) -> Trial:
        job, spec = self._job, self._job.facts.preprocess
        part = job.pictures.trial_part
        truth, pictures = readable(job.pictures.trial, spec, reader_of(part))
        model = torch_model(job.network, spec)
        return Trial(
            pictures,
            truth if part == "val" else None,
            np.concatenate([model(picture[np.newaxis]) for picture in pictures]),
            job.facts.temperature,
        )


def _suffix(head: PooledHead | None) -> str:
    return "-map" if head else ""


def _no_pooled_head(job: ExportJob) -> EdgetlError:
    """The error for a network that has no feature map to export."""
    if job.facts.head.hidden:
        return EdgetlError(
            "This run's head has hidden layers, so it has no feature map to make heatmaps from.",
            hint="export without --explain-output, or fine-tune without head.hidden.",
        )
    having = ", ".join(name for name, backbone in BACKBONES.items() if backbone.pooled_head)
    return EdgetlError(
        f"'{job.facts.backbone}' has no feature map to make heatmaps from: it does not end in "
        f"global average pooling and a linear layer, at {job.facts.preprocess.size_px} px.",
        hint=f"export without --explain-output; these backbones have one: {having}.",
    )


def _attempt(name: str, logits: NDArray[np.float32], trial: Trial) -> QuantizationAttempt:
    drops = expected_drop(logits, trial.reference, trial.temperature)
    return QuantizationAttempt(
        name=name,
        images=len(drops),
        expected_drop_pp=round(100 * float(drops.mean()), 4),
        agreement=float((logits.argmax(1) == trial.reference.argmax(1)).mean()),
    )
