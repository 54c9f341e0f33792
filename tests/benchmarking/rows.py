"""Records of benchmarks that were never run, for what only reads them."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from edgetl.benchmarking.latency import summarise
from edgetl.benchmarking.reports import BenchReport, BenchRow, Conditions, HostFacts, Surroundings
from edgetl.benchmarking.validity import judge

CALM = Conditions(
    governor="performance",
    holds_low=False,
    frequency_mhz=1800.0,
    temperature_c=50.0,
    hot_zones=(),
    throttled=(),
    throttled_before=(),
    throttle_events=0,
)
HOST = HostFacts(
    machine="Made Board 1",
    cpu="Cortex-A76",
    isa=("asimd",),
    cores=4,
    memory_bytes=2**32,
    system="Linux 6.1",
    python="3.11.2",
    governor="performance",
    frequency_mhz=1800.0,
    temperature_c=50.0,
    load_1min=0.0,
)


def conditions(**other: Any) -> Conditions:
    """A calm machine but for what is named."""
    return msgspec.structs.replace(CALM, **other)


def surroundings(
    before: Conditions = CALM,
    after: Conditions = CALM,
    others_before: float | None = 0.0,
    others_during: float | None = 0.0,
) -> Surroundings:
    return Surroundings(
        before=before, after=after, others_before=others_before, others_during=others_during
    )


def row(p50_ms: float = 50.0, *, calls: int = 1300, **other: Any) -> BenchRow:
    """A row whose durations spread by 10 % around its median; 1,300 calls of 50 ms take 65 s."""
    made = BenchRow(
        artifact="onnx-int8",
        engine="onnxruntime 1.31.1",
        provider="CPUExecutionProvider",
        threads=4,
        bytes=4_000_000,
        inference=summarise(np.linspace(0.9, 1.1, calls) * p50_ms),
        decode=None,
        preprocess=None,
        end_to_end=None,
        cold_start_ms=300.0,
        peak_memory_bytes=100_000_000,
        surroundings=surroundings(),
    )
    return msgspec.structs.replace(made, **other)


def report(rows: Sequence[BenchRow], digest: str = "0" * 64, **other: Any) -> BenchReport:
    made = BenchReport(
        bundle="model.edgetl",
        bundle_digest=digest,
        pictures=0,
        mode="valid",
        host=HOST,
        rows=tuple(rows),
        cut_short=False,
        verdict=judge(rows, "valid"),
    )
    return msgspec.structs.replace(made, **other)
