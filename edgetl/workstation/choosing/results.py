"""The results of a choice: what was found out about each candidate, as `plan.json` stores it."""

import re
from typing import Annotated, Literal

import msgspec

from edgetl.bundle.reports import Interval
from edgetl.core.schema import Frozen
from edgetl.workstation.recipe import Recipe

PLAN_FILE = "plan.json"
Fraction = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Candidate(Frozen, kw_only=True, frozen=True):
    """A network, the weights it starts from, and the side of its pictures in px, as in a recipe."""

    backbone: str
    weights: str
    image_size_px: int

    @property
    def name(self) -> str:
        """E.g. "mobilenet_v2@160"."""
        return f"{self.backbone}@{self.image_size_px}"

    @property
    def file_name(self) -> str:
        """The name without characters that a file's should not have, e.g. "mobilenet_v2-160px"."""
        backbone = re.sub(r"[^\w.]", "-", self.backbone)
        return f"{backbone}-{self.image_size_px}px"

    def recipe(self, recipe: Recipe) -> Recipe:
        """A recipe with this network, its weights and its size."""
        return msgspec.structs.replace(
            recipe,
            backbone=self.backbone,
            weights=self.weights,
            image_size_px=self.image_size_px,
        )


class Cost(Frozen, kw_only=True, frozen=True):
    """What a candidate's int8 artifact takes.

    Attributes:
        artifact, engine: the artifact, e.g. "onnx-int8", and the engine, with its version.
        threads: the engine's threads.
        bytes: size of the artifact's files.
        p50_ms, p90_ms: percentiles of the time from picture file to prediction; if estimated, both
            are the inference alone.
        inference_ms: the median of the inference alone; with random pixels.
        memory_bytes: peak resident memory of a process that predicts once; 0: not measured.
        source: "measured": timed on this machine; "interpolated": from the same network at a
            smaller and a larger size, which were timed; "estimated": from the number of
            instructions on an emulated board, and a figure that the user measured on the real one.
        instructions: of one inference on the emulated board; None if none was emulated.
    """

    artifact: str
    engine: str
    threads: int
    bytes: int
    p50_ms: float
    p90_ms: float
    inference_ms: float
    memory_bytes: int = 0
    source: Literal["measured", "interpolated", "estimated"] = "measured"
    instructions: int | None = None


class Accuracy(Frozen, kw_only=True, frozen=True):
    """A score: top-1, 0 to 1, on a number of pictures, and its 95 % bootstrap interval."""

    top1: Fraction
    images: int
    interval: Interval


class Result(Frozen, kw_only=True, frozen=True):
    """What is known of one candidate.

    Attributes:
        candidate: the network, its weights and picture size.
        cost: what it takes.
        over: the limits that it exceeds, in words; empty if it fits.
        probe: a cross-validated linear probe of its features, on training pictures.
        brief: after a few epochs, on pictures held out of the training part.
        whole: after the whole recipe, on the test part.
        run: the folder of the whole run, below the plan's; None if it was not trained wholly.
    """

    candidate: Candidate
    cost: Cost
    over: tuple[str, ...] = ()
    probe: Accuracy | None = None
    brief: Accuracy | None = None
    whole: Accuracy | None = None
    run: str | None = None

    @property
    def name(self) -> str:
        """The candidate's, e.g. "mobilenet_v2@160"."""
        return self.candidate.name


class LeftOut(Frozen, kw_only=True, frozen=True):
    """A network that could not take part, and why.

    Attributes:
        weights_missing: its weights could not be obtained; else it cannot be exported.
    """

    name: str
    reason: str
    weights_missing: bool = False


class Limits(Frozen, kw_only=True, frozen=True):
    """What the model must keep to; None: no limit.

    Attributes:
        max_latency_ms: p90 from picture file to prediction; on a target, of the inference alone.
        max_size_mb: of the int8 artifact, in 10^6 bytes.
        min_top1_pct: top-1 on the test part, in percent.
    """

    max_latency_ms: float | None = None
    max_size_mb: float | None = None
    min_top1_pct: float | None = None

    @property
    def none(self) -> bool:
        """Whether there is no limit."""
        return self == Limits()

    def too_slow(self, cost: Cost) -> bool:
        """Whether a cost exceeds the limit of latency."""
        return self.max_latency_ms is not None and cost.p90_ms > self.max_latency_ms

    def too_large(self, cost: Cost) -> bool:
        """Whether a cost exceeds the limit of size."""
        return self.max_size_mb is not None and cost.bytes / 1e6 > self.max_size_mb


class Plan(Frozen, kw_only=True, frozen=True):
    """The contents of `plan.json`.

    Attributes:
        data: the folder or table of pictures.
        machine: the processor that latencies were measured on.
        target: the board that they were estimated for; None: they are this machine's.
        limits: what was asked for.
        results: the candidates, fastest first.
        left_out: networks that could not take part.
        picked: the name of the candidate to use; None if none keeps to the limits.
        nearest: the name of the one that misses them least; None if one keeps to them.
    """

    data: str
    machine: str
    target: str | None
    limits: Limits
    results: tuple[Result, ...]
    left_out: tuple[LeftOut, ...] = ()
    picked: str | None = None
    nearest: str | None = None

    def result(self, name: str) -> Result:
        """The candidate of a name. Raises KeyError if there is none."""
        return {result.name: result for result in self.results}[name]
