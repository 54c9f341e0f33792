"""A trained network -> every artifact asked for, as files in memory."""

import hashlib
import itertools
from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.core.calibration import fit_temperature
from edgetl.core.console import native_chatter_dropped
from edgetl.core.errors import EdgetlError
from edgetl.core.manifest import Format, Rung, Scheme
from edgetl.core.metrics import expected_drop
from edgetl.core.reports import Blame
from edgetl.pipeline.choosing import calibration_pixels, prepared, readable
from edgetl.pipeline.engines import asked, loaded
from edgetl.pipeline.kept import Kept
from edgetl.pipeline.models import torch_model
from edgetl.pipeline.opened import Job
from edgetl.pipeline.views import reader_of
from edgetl.quantize.needs import Needs
from edgetl.runtime.preprocess import Pixels

if TYPE_CHECKING:
    from edgetl.export.graph import DeployGraph
    from edgetl.quantize.kernels import Kernels
    from edgetl.quantize.ladder import Ladder
    from edgetl.quantize.plan import Plan

Files = tuple[bytes, ...]


class Product(NamedTuple):
    """An artifact's files, before they are measured and described.

    Attributes:
        rungs: of an int8 one, what was tried.
        temperature: fitted to its own answers on labelled trial pictures; None: there were none.
    """

    format: Format
    scheme: Scheme
    files: Files
    rungs: tuple[Rung, ...] = ()
    temperature: float | None = None

    @property
    def name(self) -> str:
        """As in `Artifact.name`."""
        return f"{self.format}-{self.scheme}"

    @property
    def digest(self) -> str:
        """The hex sha256 of its files."""
        return hashlib.sha256(b"".join(self.files)).hexdigest()


class Attempt(NamedTuple):
    """What a rung of the ladder gave; None where the ladder has no such rung."""

    product: Product | None


class Trial(NamedTuple):
    """What ways to int8 are tried on.

    Attributes:
        pictures: uint8 [H, W, 3] each.
        truth: their classes, int64 [N]; None where the network was trained on them or nobody
            knows.
        reference: the torch model's logits for them, float32 [N, C].
        temperature: what makes its probabilities calibrated.
    """

    pictures: Sequence[Pixels]
    truth: NDArray[np.int64] | None
    reference: NDArray[np.float32]
    temperature: float

    def most_varied(self) -> Pixels:
        """The picture that tells a network's tensors apart best: not a black one."""
        return max(self.pictures, key=lambda picture: float(picture.std()))


def checked_plan(
    formats: Sequence[Format], schemes: Sequence[Scheme]
) -> list[tuple[Format, Scheme]]:
    """What is to be made: formats in order, fp32 first. Raises EdgetlError where it is nothing."""
    with native_chatter_dropped():
        from edgetl.export import SCHEMES
    plan = [(name, scheme) for name in formats for scheme in SCHEMES[name] if scheme in schemes]
    if not plan:
        raise EdgetlError(f"None of {', '.join(formats)} comes in {', '.join(schemes)}.")
    return plan


class Maker:
    """Makes a job's artifacts, each once: what an earlier export made is taken from `kept`.

    `needs`: what the device asks of int8.
    """

    def __init__(self, job: Job, kept: Kept, needs: Needs) -> None:
        self._job = job
        self._kept = kept
        self.needs = needs

    def make(self, plan: Sequence[tuple[Format, Scheme]], goal_pp: float) -> list[Product]:
        """Every artifact of the plan, in its order.

        `goal_pp` is the most that int8 may be expected to lose, in points of top-1.
        """
        made = self._floats([entry for entry in plan if entry[1] != "int8"])
        for name, scheme in plan:
            if scheme == "int8":
                made[name, scheme] = self._int8(name, goal_pp)
        return [made[entry] for entry in plan]

    def blame(self) -> tuple[Blame, ...]:
        """What int8 costs each layer, worst first."""
        return self._kept.recall("blame", tuple[Blame, ...], lambda: tuple(self._ladder.blame()))

    def kernels(self, product: Product) -> "Kernels":
        """What of an int8 artifact its engine computes in int8."""
        from edgetl.quantize.kernels import Kernels, inspect_kernels

        name = f"kernels-{product.digest[:32]}"
        return self._kept.recall(
            name, Kernels, lambda: inspect_kernels(product.format, product.files)
        )

    def _floats(
        self, wanted: Sequence[tuple[Format, Scheme]]
    ) -> dict[tuple[Format, Scheme], Product]:
        made: dict[tuple[Format, Scheme], Product] = {}
        if not wanted:
            return made
        with self._job.progress.stage("exporting", len(wanted), "artifacts") as shown:
            for name, scheme in wanted:
                made[name, scheme] = self._float(name, scheme)
                shown.advance(1, made[name, scheme].name)
        return made

    def _float(self, name: Format, scheme: Scheme) -> Product:
        """The network in fp32 or fp16."""
        return self._kept.recall(
            f"{name}-{scheme}",
            Product,
            lambda: Product(name, scheme, self._float_files(name, scheme)),
        )

    def _float_files(self, name: Format, scheme: Scheme) -> Files:
        with native_chatter_dropped():
            return write_float(self._graph, name, scheme)

    def _int8(self, name: Format, goal_pp: float) -> Product:
        """The network in int8, by the cheapest way that reaches the goal in this format's engine.

        Where none does, it is the way that came nearest.
        """
        tried: list[Product] = []
        for index in itertools.count():
            attempt = self._kept.recall(
                f"{name}-int8-{index}", Attempt, partial(self._attempt, name, index)
            )
            if attempt.product is None:
                break
            tried.append(attempt.product)
            (outcome,) = attempt.product.rungs
            if outcome.expected_drop_pp <= goal_pp:
                break
            self._job.progress.say(
                f"{name} int8 by '{outcome.name}': expected to lose "
                f"{outcome.expected_drop_pp:.2f} points of top-1, more than {goal_pp:.2f}"
            )
        rungs = tuple(product.rungs[0] for product in tried)
        best = min(tried, key=lambda product: product.rungs[0].expected_drop_pp)
        return best._replace(rungs=rungs)

    def _attempt(self, name: Format, index: int) -> Attempt:
        """A format's file by one rung, from 0, tried in the format's own engine."""
        rung = next(itertools.islice(self._ladder, index, None), None)
        if rung is None:
            return Attempt(None)
        trial = self._trial
        with self._job.progress.stage(f"{name} int8", len(trial.pictures), "pictures") as shown:
            with native_chatter_dropped():
                files = write_int8(rung.plan, name, trial.most_varied())
            logits = asked(loaded(name, files), trial.pictures)
            shown.advance(len(logits), f"by '{rung.name}'")
        scheme: Scheme = "int8-mixed" if rung.mixed else "int8"
        temperature = None if trial.truth is None else fit_temperature(trial.truth, logits)
        outcome = _outcome(rung.name, logits, trial)
        return Attempt(Product(name, scheme, files, (outcome,), temperature))

    @cached_property
    def _graph(self) -> "DeployGraph":
        with native_chatter_dropped():
            from edgetl.export.graph import DeployGraph

        spec = self._job.facts.preprocess
        size = (spec.size_px, spec.size_px)
        return DeployGraph(self._job.network.model, mean=spec.mean, std=spec.std, size=size)

    @cached_property
    def _ladder(self) -> "Ladder":
        with native_chatter_dropped():
            from edgetl.quantize.ladder import Ladder
            from edgetl.quantize.ranges import SYMMETRIC_ZERO

        job, spec = self._job, self._job.facts.preprocess
        calibration = calibration_pixels(job.chosen, spec, job.progress)
        tuning = partial(prepared, job.chosen.tuning, spec)
        zero = SYMMETRIC_ZERO if self.needs.symmetric else None
        return Ladder(
            self._graph.with_whole_pixels(zero),
            calibration,
            tuning,
            job.progress,
            needs=self.needs,
        )

    @cached_property
    def _trial(self) -> Trial:
        job, spec = self._job, self._job.facts.preprocess
        part = job.chosen.trial_part
        truth, pictures = readable(job.chosen.trial, spec, reader_of(part))
        model = torch_model(job.network, spec)
        return Trial(
            pictures,
            truth if part == "val" else None,
            np.concatenate([model(picture[np.newaxis]) for picture in pictures]),
            job.facts.temperature,
        )


def write_float(graph: "DeployGraph", name: Format, scheme: Scheme) -> Files:
    """One format's file of the float network."""
    half = scheme == "fp16"
    if name == "onnx":
        from edgetl.export.onnx import export_onnx

        return export_onnx(graph)
    if name == "openvino":
        from edgetl.export.openvino import export_openvino

        return export_openvino(graph, fp16=half)
    from edgetl.export.tflite import export_tflite

    return export_tflite(graph, fp16=half)


def write_int8(plan: "Plan", name: Format, picture: Pixels) -> Files:
    """One format's file of a planned int8 network."""
    if name == "tflite":
        from edgetl.export.tflite import export_tflite
        from edgetl.quantize.tflite import quantize_tflite

        return quantize_tflite(export_tflite(plan.graph), plan, picture)  # type: ignore[arg-type]
    from edgetl.export.onnx import export_onnx
    from edgetl.quantize.onnx import quantize_onnx

    simulated = export_onnx(plan.simulated())  # type: ignore[arg-type]
    if name == "onnx":
        return quantize_onnx(simulated, plan.needs)
    from edgetl.export.openvino import openvino_from_onnx

    return openvino_from_onnx(quantize_onnx(simulated, plan.needs, for_openvino=True))


def _outcome(way: str, logits: NDArray[np.float32], trial: Trial) -> Rung:
    lost = expected_drop(logits, trial.reference, trial.temperature)
    return Rung(
        name=way,
        images=len(lost),
        expected_drop_pp=round(100 * float(lost.mean()), 4),
        agreement=float((logits.argmax(1) == trial.reference.argmax(1)).mean()),
    )
