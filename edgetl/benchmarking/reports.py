"""The report of `edgetl bench`; `--json` writes it with these field names."""

from typing import Annotated, Literal

import msgspec

from edgetl.core.schema import Frozen

Mode = Literal["quick", "valid", "throughput"]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class QuantileInterval(Frozen, kw_only=True, frozen=True):
    """The 95 % confidence interval of a quantile of all calls, in milliseconds.

    An end is None if there were too few calls to bound the quantile on that side.
    """

    low_ms: float | None
    high_ms: float | None


class Latency(Frozen, kw_only=True, frozen=True):
    """Mean and percentiles of `calls` timed calls, which took `seconds` together.

    Attributes:
        p50_interval, p90_interval, p99_interval: order-statistic intervals of the three
            percentiles (`edgetl.benchmarking.intervals`).
    """

    calls: int
    seconds: float
    mean_ms: float
    p50_ms: Positive
    p90_ms: float
    p99_ms: float
    p50_interval: QuantileInterval
    p90_interval: QuantileInterval
    p99_interval: QuantileInterval


class HostFacts(Frozen, kw_only=True, frozen=True):
    """The machine that was measured.

    Attributes:
        engines: the installed engines and their versions, e.g. "litert 2.3.0".
    """

    machine: str
    cpu: str
    isa: tuple[str, ...]
    cores: int
    memory_bytes: int
    system: str
    python: str
    governor: str
    frequency_mhz: float | None
    temperature_c: float | None
    load_1min: float | None
    engines: tuple[str, ...] = ()


class Conditions(Frozen, kw_only=True, frozen=True):
    """The state of a machine at one moment; a value is None or empty if it cannot be read.

    Attributes:
        governor: the cores' frequency governors, e.g. "schedutil", or "ondemand, powersave".
        holds_low: whether a governor keeps its core at the lowest frequency.
        frequency_mhz: mean over the cores.
        temperature_c: the temperature of the hottest thermal zone.
        hot_zones: the zones that have reached the temperature at which the kernel begins to slow
            the machine down.
        throttled: what slows the processor down at this moment, e.g. "under-voltage".
        throttled_before: what has slowed it down at some time since boot.
        throttle_events: how often it was slowed down since boot, as the kernel counts.
    """

    governor: str | None
    holds_low: bool
    frequency_mhz: float | None
    temperature_c: float | None
    hot_zones: tuple[str, ...]
    throttled: tuple[str, ...] | None
    throttled_before: tuple[str, ...]
    throttle_events: int | None


class Surroundings(Frozen, kw_only=True, frozen=True):
    """The state of the machine while one artifact was measured.

    Attributes:
        before: read after the warm-up, right before the first timed call.
        after: read right after the last timed call.
        others_before, others_during: the fraction (0 to 1) of the machine's CPU time that other
            processes and other virtual machines took, while the engine started and while it was
            timed; None if not known.
    """

    before: Conditions
    after: Conditions
    others_before: float | None
    others_during: float | None


class Energy(Frozen, kw_only=True, frozen=True):
    """The energy of one inference, in millijoules, of everything that `source` measures.

    Idle power is included: the sensor cannot tell who uses the energy.
    """

    per_inference_mj: float
    source: str


class Throughput(Frozen, kw_only=True, frozen=True):
    """Inferences per second of `engines` engines that run at the same time, on random pixels.

    On the CPU each engine has one thread; on another provider there is only one engine.
    """

    engines: int
    pictures: int
    seconds: float
    pictures_per_s: float


class OperatorTime(Frozen, kw_only=True, frozen=True):
    """One operator of the network as the engine runs it.

    Attributes:
        kind: the engine's name for this type of operator, e.g. "QLinearConv".
        mean_ms: its mean time in one inference.
        share: its fraction of all operators' time, 0 to 1.
    """

    name: str
    kind: str
    mean_ms: float
    share: float


class KindTime(Frozen, kw_only=True, frozen=True):
    """All operators of a kind: number, mean time per inference, share of all operators' time."""

    kind: str
    operators: int
    mean_ms: float
    share: float


class Profile(Frozen, kw_only=True, frozen=True):
    """The time of each operator, as the engine's own profiler measures it.

    Attributes:
        calls: the number of profiled inferences.
        operators, kinds: costliest first; empty if there is no profile.
        note: why there is no profile, or a remark on it; may be empty.
    """

    calls: int
    operators: tuple[OperatorTime, ...]
    kinds: tuple[KindTime, ...]
    note: str = ""


class BenchRow(Frozen, kw_only=True, frozen=True):
    """The measurements of one artifact with one engine.

    Attributes:
        engine: its name and version, e.g. "litert 2.3.0".
        provider: the hardware backend, as the engine names it, e.g. "CPUExecutionProvider".
        bytes: the size of the artifact's files.
        cold_start_ms: from process start to first prediction, in a fresh interpreter.
        peak_memory_bytes: that process's peak resident memory.
        inference: latency of the engine alone, on random pixels.
        decode, preprocess: latency of these stages; None if no pictures were given.
        end_to_end: latency from picture file to prediction; None if no pictures were given.
        surroundings: the machine before, during and after these calls.
        energy: None if no sensor can be read.
        throughput, profile: None if not requested.
    """

    artifact: str
    engine: str
    provider: str
    threads: int
    bytes: int
    inference: Latency
    decode: Latency | None
    preprocess: Latency | None
    end_to_end: Latency | None
    cold_start_ms: float
    peak_memory_bytes: int
    surroundings: Surroundings
    energy: Energy | None = None
    throughput: Throughput | None = None
    profile: Profile | None = None


class ReportValidity(Frozen, kw_only=True, frozen=True):
    """Whether a report's figures are reliable.

    Attributes:
        valid: whether the mode was "valid" and every rule was kept.
        reasons: the rules that were broken.
        unknown: the facts that this machine does not report, so that no rule could check them.
        text: all of this in one sentence.
    """

    valid: bool
    reasons: tuple[str, ...]
    unknown: tuple[str, ...]
    text: str


class Comparison(Frozen, kw_only=True, frozen=True):
    """An artifact's median inference time, compared with that of an earlier report.

    Attributes:
        old_ms, old_interval: the baseline's median and its interval; None if it has no such row.
        new_ms, new_interval: the new median and its interval.
        ratio: the new median divided by the old one; None if there is no old one.
    """

    artifact: str
    engine: str
    threads: int
    old_ms: float | None
    old_interval: QuantileInterval | None
    new_ms: float
    new_interval: QuantileInterval
    ratio: float | None
    verdict: Literal["slower", "same", "faster", "not in the baseline"]


class Failed(Frozen, kw_only=True, frozen=True):
    """An artifact and engine that could not be measured, the reason, and what to do."""

    artifact: str
    engine: str
    reason: str
    hint: str


class BenchReport(Frozen, kw_only=True, frozen=True):
    """A benchmark of a bundle; every row is from the same host and the same pictures.

    Attributes:
        bundle, bundle_digest: the bundle's path, and the sha256 of its manifest.
        pictures: the number of picture files.
        mode: the rules that the run had to keep.
        cut_short: whether Ctrl-C came before every artifact was measured.
        failed: artifacts whose engine failed or crashed.
        comparison: the comparison with a baseline; None without one.
    """

    bundle: str
    bundle_digest: str
    pictures: int
    mode: Mode
    host: HostFacts
    rows: tuple[BenchRow, ...]
    cut_short: bool
    verdict: ReportValidity
    failed: tuple[Failed, ...] = ()
    comparison: tuple[Comparison, ...] | None = None
