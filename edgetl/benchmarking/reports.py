"""What `edgetl bench` answers with. All of it can be printed as JSON as it stands."""

from typing import Annotated, Literal

import msgspec

from edgetl.core.schema import Frozen

Mode = Literal["quick", "valid", "throughput"]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class QuantileInterval(Frozen, kw_only=True, frozen=True):
    """Where a quantile of all calls lies with 95 % confidence, in milliseconds.

    None where there were too few calls to bound it on that side.
    """

    low_ms: float | None
    high_ms: float | None


class Latency(Frozen, kw_only=True, frozen=True):
    """Milliseconds over `calls` timed calls, which took `seconds` together.

    Attributes:
        p50_interval, p90_interval, p99_interval: order-statistic intervals of the three
            (`edgetl.benchmarking.intervals`).
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
    """The machine a figure comes from."""

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


class Conditions(Frozen, kw_only=True, frozen=True):
    """What a machine says of itself at one moment. None or empty where it does not say.

    Attributes:
        governor: the cores' frequency governors, e.g. "schedutil", or "ondemand, powersave".
        holds_low: whether one of them keeps its core at the lowest frequency.
        frequency_mhz: mean over the cores.
        temperature_c: of the hottest thermal zone.
        hot_zones: the zones that are as hot as where the kernel begins to slow the machine down.
        throttled: what slows the processor down at this moment, e.g. "under-voltage".
        throttled_before: what has done so at some time since the start.
        throttle_events: how often it was slowed down since the start, as the kernel counts.
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
    """The machine around one artifact's run.

    Attributes:
        before: after the warm-up, right before the first timed call.
        after: right after the last timed call.
        others_before, others_during: the fraction (0 to 1) of the machine's CPU time that other
            processes and other virtual machines took, while the engine started and while it was
            timed; None where the machine does not say.
    """

    before: Conditions
    after: Conditions
    others_before: float | None
    others_during: float | None


class Energy(Frozen, kw_only=True, frozen=True):
    """What an inference takes, in millijoules, of all that `source` measures.

    Idle power is in it: the sensor knows nothing of who used it.
    """

    per_inference_mj: float
    source: str


class Throughput(Frozen, kw_only=True, frozen=True):
    """Pictures a second of `engines` engines side by side, each with one thread, on made pixels."""

    engines: int
    pictures: int
    seconds: float
    pictures_per_s: float


class OperatorTime(Frozen, kw_only=True, frozen=True):
    """One operator of the network as the engine runs it.

    Attributes:
        kind: what the engine calls such an operator, e.g. "QLinearConv".
        mean_ms: its mean time in one inference.
        share: of all operators' time, 0 to 1.
    """

    name: str
    kind: str
    mean_ms: float
    share: float


class KindTime(Frozen, kw_only=True, frozen=True):
    """All operators of a kind together: how many, their time in one inference, their share."""

    kind: str
    operators: int
    mean_ms: float
    share: float


class Profile(Frozen, kw_only=True, frozen=True):
    """Where an engine's time goes, by its own account.

    Attributes:
        calls: inferences the means are over.
        operators: costliest first; empty where the engine offers no profile.
        kinds: likewise.
        note: why there is nothing, or what to know of it; empty where there is nothing to say.
    """

    calls: int
    operators: tuple[OperatorTime, ...]
    kinds: tuple[KindTime, ...]
    note: str = ""


class BenchRow(Frozen, kw_only=True, frozen=True):
    """One artifact through one engine.

    Attributes:
        engine: with its version, e.g. "litert 2.3.0".
        provider: computed by what, as the engine names it, e.g. "CPUExecutionProvider".
        cold_start_ms: process start to first answer, in a fresh interpreter.
        peak_memory_bytes: that process's peak resident memory.
        decode, preprocess, inference: per-stage latency; decode and preprocess are None
            where no pictures were given and made pixels were used.
        end_to_end: picture file to answer, likewise.
        surroundings: the machine before, during and after these calls.
        energy: of the inferences; None where no sensor can be read.
        throughput, profile: None where they were not asked for.
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
    """Whether a report's figures may be relied on.

    Attributes:
        valid: every rule was kept.
        reasons: the rules that were not.
        unknown: what this machine does not tell, so that nobody could check it.
        text: all of that in a sentence.
    """

    valid: bool
    reasons: tuple[str, ...]
    unknown: tuple[str, ...]
    text: str


class Comparison(Frozen, kw_only=True, frozen=True):
    """One artifact's median inference, held against an earlier report's.

    Attributes:
        old_ms, new_ms: the medians; `old_ms` is None where the baseline has no such row.
        ratio: new over old.
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
    """What could not be measured, why, and what to do."""

    artifact: str
    engine: str
    reason: str
    hint: str


class BenchReport(Frozen, kw_only=True, frozen=True):
    """Every row was measured on the same host with the same pictures.

    Attributes:
        bundle, bundle_digest: its path, and the sha256 of its manifest.
        mode: the rules that were to be kept.
        cut_short: Ctrl-C came before every artifact was measured.
        failed: what an engine failed at or crashed of, where others were measured.
        comparison: with a baseline; None without one.
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
