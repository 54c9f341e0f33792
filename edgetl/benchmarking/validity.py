"""Judge whether a report's figures are reliable, and if not, why."""

from collections.abc import Callable, Sequence

from edgetl.benchmarking.latency import VALID
from edgetl.benchmarking.reports import BenchRow, Conditions, Mode, ReportValidity

# The fraction of the CPU that others may take: about that of an idle desktop or an ssh session.
MAX_OTHERS = 0.05
# A processor has slowed down if its frequency falls below this fraction of that at the start.
MIN_KEPT_FREQUENCY = 0.9


def judge(rows: Sequence[BenchRow], mode: Mode, *, cut_short: bool = False) -> ReportValidity:
    """Check the rows for signs of disturbance, and in mode "valid" MLPerf's single-stream rules.

    Disturbances are load by others, a low governor, throttling, heat, and a falling frequency.

    Args:
        rows: the measurements.
        mode: the mode they were measured in; only "valid" can yield a valid report.
        cut_short: whether Ctrl-C ended the run early.
    """
    reasons = ["it was cut short"] if cut_short else []
    if not rows:
        reasons.append("nothing was measured")
    disturbances = [rule(rows) for rule in _RULES] if rows else []
    reasons += [reason for reason in disturbances if reason]
    if mode == "valid":
        reasons += [reason for rule in (_queries, _seconds) if rows and (reason := rule(rows))]
    unknown = _unknown(rows)
    return ReportValidity(
        valid=mode == "valid" and not reasons,
        reasons=tuple(reasons),
        unknown=unknown,
        text=_text(mode, reasons, unknown),
    )


def _text(mode: Mode, reasons: Sequence[str], unknown: Sequence[str]) -> str:
    if mode == "valid":
        text = f"invalid because {'; '.join(reasons)}" if reasons else "valid"
    else:
        text = (
            f"quick look: --mode valid times {VALID.calls:,} queries and {VALID.seconds:.0f} s of "
            "each artifact"
        )
        text += f". Note that {'; '.join(reasons)}" if reasons else ""
    if unknown:
        text += f" (not known on this machine: {_listed(unknown)})"
    return text


def _queries(rows: Sequence[BenchRow]) -> str:
    row = min(rows, key=_fewest_calls)
    if _fewest_calls(row) >= VALID.calls:
        return ""
    return f"{row.artifact} was timed for {_fewest_calls(row)} queries, not {VALID.calls:,}"


def _fewest_calls(row: BenchRow) -> int:
    return min(timed.calls for timed in (row.inference, row.end_to_end) if timed)


def _seconds(rows: Sequence[BenchRow]) -> str:
    row = min(rows, key=_fewest_seconds)
    if _fewest_seconds(row) >= VALID.seconds:
        return ""
    return f"{row.artifact} was timed for {_fewest_seconds(row):.1f} s, not {VALID.seconds:.0f} s"


def _fewest_seconds(row: BenchRow) -> float:
    return min(timed.seconds for timed in (row.inference, row.end_to_end) if timed)


def _loaded(rows: Sequence[BenchRow]) -> str:
    shares = [
        share
        for row in rows
        for share in (row.surroundings.others_before, row.surroundings.others_during)
        if share is not None
    ]
    worst = max(shares, default=0.0)
    if worst <= MAX_OTHERS:
        return ""
    return f"other processes took up to {worst:.0%} of the machine's CPU time"


def _held_low(rows: Sequence[BenchRow]) -> str:
    held = any(now.holds_low for row in rows for now in _moments(row))
    return "the governor 'powersave' keeps the processor at its lowest frequency" if held else ""


def _throttled(rows: Sequence[BenchRow]) -> str:
    flags = {flag for row in rows for flag in _throttled_in(row)}
    return f"the processor was throttled ({', '.join(sorted(flags))})" if flags else ""


def _throttled_in(row: BenchRow) -> set[str]:
    """What slowed the processor down right before, during or right after the run."""
    before, after = _moments(row)
    flags = {*(before.throttled or ()), *(after.throttled or ())}
    flags |= {*after.throttled_before} - {*before.throttled_before}
    events = (after.throttle_events or 0) - (before.throttle_events or 0)
    return flags | {f"{events} events during {row.artifact}"} if events > 0 else flags


def _hot(rows: Sequence[BenchRow]) -> str:
    hot = [(now, zone) for row in rows for now in _moments(row) for zone in now.hot_zones]
    if not hot:
        return ""
    hottest_c = max(now.temperature_c or 0.0 for now, _ in hot)
    zones = ", ".join(sorted({zone for _, zone in hot}))
    return f"the machine was hot enough to slow down ({zones}; up to {hottest_c:.0f} C)"


def _slowed(rows: Sequence[BenchRow]) -> str:
    for row in rows:
        before, after = (now.frequency_mhz for now in _moments(row))
        if before and after and after < MIN_KEPT_FREQUENCY * before:
            return f"the frequency fell from {before:.0f} to {after:.0f} MHz during {row.artifact}"
    return ""


def _moments(row: BenchRow) -> tuple[Conditions, Conditions]:
    return row.surroundings.before, row.surroundings.after


def _unknown(rows: Sequence[BenchRow]) -> tuple[str, ...]:
    """The facts that no row reports, so that their rules could not be checked."""
    moments = [now for row in rows for now in _moments(row)]
    reported = {
        "governor": any(now.governor for now in moments),
        "frequency": any(now.frequency_mhz for now in moments),
        "temperature": any(now.temperature_c is not None for now in moments),
        "throttling": any(
            now.throttled is not None or now.throttle_events is not None for now in moments
        ),
        "CPU load": any(row.surroundings.others_during is not None for row in rows),
    }
    return tuple(name for name, known in reported.items() if not known) if moments else ()


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


_RULES: tuple[Callable[[Sequence[BenchRow]], str], ...] = (
    _loaded, _held_low, _throttled, _hot, _slowed,
)  # fmt: skip
