"""What each candidate takes in int8: timed here, or estimated for a board that is emulated."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from edgetl.arm_vm.host.boards import Board
from edgetl.arm_vm.host.verify import verify_on
from edgetl.benchmarking.reports import BenchRow
from edgetl.benchmarking.run import bench
from edgetl.bundle.archive import Bundle
from edgetl.core.errors import EdgetlError, EngineError
from edgetl.core.progress import Progress, Silent
from edgetl.data.folders import Example
from edgetl.devices.profile import DeviceProfile
from edgetl.runtime.classifier import checked_threads
from edgetl.runtime.engines.registry import ENGINES, installed
from edgetl.workstation.choosing.results import Candidate, Cost, LeftOut, Limits, Result
from edgetl.workstation.choosing.timing_bundle import write_timing_bundle
from edgetl.workstation.export.cache import ExportCache, picture_identity
from edgetl.workstation.export.formats.registry import versions
from edgetl.workstation.export.int8.constraints import constraints_of
from edgetl.workstation.recipe import Recipe


class Known(NamedTuple):
    """A figure that the user measured on the target: a candidate's name and its p50 in ms."""

    name: str
    p50_ms: float


class CostMeter:
    """Measures candidates, and keeps each figure in edgetl's cache.

    Args:
        recipe: its head and seed are the candidates'.
        labels: the classes.
        formats: the formats to consider.
        threads: the engines' threads; None: as many as `edgetl run` would use.
        pictures: files like those to classify, to time reading them; none with a target.
        target: the device that candidates are for; None: this machine.
        progress: where to show how far it is.
    """

    def __init__(
        self,
        recipe: Recipe,
        labels: Sequence[str],
        formats: Sequence[str],
        threads: int | None,
        pictures: Sequence[Example],
        target: DeviceProfile | None,
        progress: Progress,
    ) -> None:
        self._recipe, self._labels, self._formats = recipe, labels, list(formats)
        self._threads, self._progress = threads, progress
        self._pictures = [picture.path for picture in pictures]
        self._constraints = constraints_of(target, formats, progress)
        engines = {name: installed(name) for name in ENGINES}
        depends_on = (
            "the cost of a candidate", versions(), engines, recipe.head, len(labels),
            checked_threads(threads), self._constraints, [picture_identity(p) for p in pictures],
        )  # fmt: skip
        self._cache = ExportCache(depends_on, progress)

    def measure(self, candidates: Sequence[Candidate]) -> tuple[list[Result], list[LeftOut]]:
        """Find the cost of candidates; returns them, and those that cannot be exported.

        Each network is timed at its smallest size in every format, and at its largest in the format
        that was fastest there. Costs between the two are interpolated: writing a network takes many
        times as long as timing it, and its inference is close to a power of the size.
        """
        results: list[Result] = []
        left_out: list[LeftOut] = []
        networks: dict[str, list[Candidate]] = {}
        for candidate in sorted(candidates, key=lambda candidate: candidate.image_size_px):
            networks.setdefault(candidate.backbone, []).append(candidate)
        with self._progress.stage("timing", len(candidates), "candidates") as shown:
            for sizes in networks.values():
                timed: list[Result] = []
                for candidate in (sizes[0], *reversed(sizes[1:])):
                    if [each.candidate for each in timed] == [sizes[0], sizes[-1]]:
                        results.append(interpolated(candidate, *timed))
                        shown.advance(1, f"{candidate.name} is between them")
                        continue
                    try:
                        timed.append(
                            Result(candidate=candidate, cost=self._timed(candidate, timed))
                        )
                    except EdgetlError as error:
                        left_out.append(LeftOut(name=candidate.name, reason=str(error)))
                        shown.advance(1, f"{candidate.name} cannot be exported")
                    else:
                        shown.advance(1, f"{candidate.name} {timed[-1].cost.p50_ms:.2f} ms")
                results += timed
        return results, left_out

    def time(self, results: Sequence[Result]) -> list[Result]:
        """Replace interpolated costs by measured ones."""
        timed: list[Result] = []
        with self._progress.stage("timing the best", len(results), "candidates") as shown:
            for result in results:
                cost = self._timed(result.candidate, [result])
                timed.append(msgspec.structs.replace(result, cost=cost))
                shown.advance(1, f"{result.name} {cost.p50_ms:.2f} ms")
        return timed

    def estimate(
        self, results: Sequence[Result], board: Board, target: DeviceProfile, known: Known
    ) -> list[Result]:
        """Replace the results' latencies by estimates for a board, from an emulated one.

        An estimate is the known candidate's latency there, times the ratio of the numbers of
        instructions. That ignores caches and memory bandwidth. `results` must hold the known one.
        """
        costs: dict[str, Cost] = {}
        with self._progress.stage(f"emulating {board.name}", len(results), "candidates") as shown:
            for result in results:
                costs[result.name] = self._emulated(result.candidate, board, target)
                shown.advance(1, result.name)
        scale = known.p50_ms / _instructions(costs[known.name])
        return [
            msgspec.structs.replace(result, cost=_scaled(costs[result.name], scale))
            for result in results
        ]

    def _timed(self, candidate: Candidate, others: Sequence[Result]) -> Cost:
        """Time a candidate, in the format of the first of the network's others; else in all."""
        formats = [others[0].cost.artifact.partition("-")[0]] if others else self._formats

        def compute() -> Cost:
            with self._bundle(candidate, formats) as bundle:
                report = bench(bundle, self._pictures, threads=self._threads, progress=Silent())
                return min(map(_cost, report.rows), key=lambda cost: cost.p50_ms)

        return self._cache.get_or_compute(_key(candidate, "here", formats), Cost, compute)

    def _emulated(self, candidate: Candidate, board: Board, target: DeviceProfile) -> Cost:
        """Count the instructions of an inference, through the target's preferred engine."""
        engine = next((name for name in target.engines if name in ENGINES), "")
        if not engine:
            raise EngineError(f"edgetl has no engine for '{target.name}'.")
        format_ = ENGINES[engine].format

        def compute() -> Cost:
            with self._bundle(candidate, [format_]) as bundle:
                report = verify_on(bundle, board, engines=[engine], progress=Silent())
            verdict = report.rows[0].verdict
            if verdict.instructions is None:
                raise EngineError(
                    f"{candidate.name} cannot be run on an emulated {board.name}: "
                    f"{verdict.detail or verdict.status}."
                )
            return Cost(
                artifact=verdict.artifact,
                engine=f"{verdict.engine} {verdict.version}".strip(),
                threads=target.threads,
                bytes=bundle.artifact(verdict.artifact).bytes,
                p50_ms=0.0,
                p90_ms=0.0,
                inference_ms=0.0,
                memory_bytes=verdict.peak_memory_bytes or 0,
                source="estimated",
                instructions=verdict.instructions.inference,
            )

        return self._cache.get_or_compute(_key(candidate, board.name, [format_]), Cost, compute)

    @contextmanager
    def _bundle(self, candidate: Candidate, formats: Sequence[str]) -> Iterator[Bundle]:
        """A candidate's timing bundle; reports the formats that it cannot be written in."""
        with tempfile.TemporaryDirectory() as folder:
            bundle, failures = write_timing_bundle(
                Path(folder) / "timing.edgetl",
                candidate,
                formats,
                self._recipe,
                self._labels,
                self._constraints,
            )
            for failure in failures:
                self._progress.say(f"{candidate.backbone} cannot be exported {failure}")
            yield bundle


def interpolated(candidate: Candidate, one: Result, other: Result) -> Result:
    """The result of a candidate whose network was timed at a smaller and at a larger size."""
    small, large = math.log(one.candidate.image_size_px), math.log(other.candidate.image_size_px)
    share = (math.log(candidate.image_size_px) - small) / (large - small)

    def between(low: float, high: float) -> float:
        return low * (1 - share) + high * share

    # The inference follows a power of the size; what comes on top of it hardly depends on it.
    low, high = one.cost, other.cost
    inference_ms = float(low.inference_ms ** (1 - share) * high.inference_ms**share)
    cost = msgspec.structs.replace(
        low,
        bytes=round(between(low.bytes, high.bytes)),
        p50_ms=inference_ms
        + between(low.p50_ms - low.inference_ms, high.p50_ms - high.inference_ms),
        p90_ms=inference_ms
        + between(low.p90_ms - low.inference_ms, high.p90_ms - high.inference_ms),
        inference_ms=inference_ms,
        memory_bytes=round(between(low.memory_bytes, high.memory_bytes)),
        source="interpolated",
    )
    return Result(candidate=candidate, cost=cost)


def with_limits(results: Sequence[Result], limits: Limits) -> list[Result]:
    """The results with the limits of latency and size that each exceeds."""
    return [msgspec.structs.replace(r, over=tuple(_misses(r.cost, limits))) for r in results]


def _misses(cost: Cost, limits: Limits) -> Iterator[str]:
    if limits.max_latency_ms is not None and limits.too_slow(cost):
        over = cost.p90_ms - limits.max_latency_ms
        yield f"{over:.2f} ms over {limits.max_latency_ms:g} ms"
    if limits.max_size_mb is not None and limits.too_large(cost):
        yield f"{cost.bytes / 1e6 - limits.max_size_mb:.2f} MB over {limits.max_size_mb:g} MB"


def _cost(row: BenchRow) -> Cost:
    whole = row.end_to_end or row.inference
    return Cost(
        artifact=row.artifact,
        engine=row.engine,
        threads=row.threads,
        bytes=row.bytes,
        p50_ms=whole.p50_ms,
        p90_ms=whole.p90_ms,
        inference_ms=row.inference.p50_ms,
        memory_bytes=row.peak_memory_bytes,
    )


def _instructions(cost: Cost) -> int:
    assert cost.instructions is not None  # it was emulated
    return cost.instructions


def _scaled(cost: Cost, ms_per_instruction: float) -> Cost:
    estimate_ms = _instructions(cost) * ms_per_instruction
    return msgspec.structs.replace(
        cost, p50_ms=estimate_ms, p90_ms=estimate_ms, inference_ms=estimate_ms
    )


def _key(candidate: Candidate, where: str, formats: Sequence[str]) -> str:
    return f"{where}-{candidate.file_name}-{'-'.join(formats)}"
