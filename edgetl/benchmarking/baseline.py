"""Compare a benchmark report with an earlier one, the baseline."""

from collections.abc import Sequence
from pathlib import Path

from edgetl.benchmarking.reports import BenchReport, BenchRow, Comparison, HostFacts
from edgetl.bundle.archive import Bundle
from edgetl.core.errors import EdgetlError, SchemaError
from edgetl.core.schema import from_json, read_document

# A median counts as slower or faster only from this ratio on: two runs of the same artifact may
# differ by less, however narrow their intervals are.
MIN_RATIO = 1.05


def read_baseline(path: Path, bundle: Bundle) -> BenchReport:
    """Read a report that `edgetl bench --json FILE` wrote.

    Raises SchemaError if it is missing or not such a report, and EdgetlError if it has no rows or
    is of another bundle.
    """
    try:
        report = from_json(read_document(path), BenchReport, where=f"'{path}'")
    except SchemaError as error:
        raise SchemaError(
            str(error), hint="write a baseline with `edgetl bench BUNDLE --json FILE`."
        ) from error
    if report.bundle_digest != bundle.digest:
        raise EdgetlError(
            f"'{path}' was measured with another bundle, or before '{report.bundle}' was changed.",
            hint="measure a baseline of this bundle with `edgetl bench BUNDLE --json FILE`.",
        )
    if not report.rows:
        raise EdgetlError(
            f"'{path}' holds no measured artifact.",
            hint="write it again with `edgetl bench BUNDLE --json FILE`.",
        )
    return report


def host_differences(old: HostFacts, new: HostFacts) -> str:
    """How two machines differ, e.g. "cores 4, now 2"; "" if they are the same for timing."""
    facts = ("machine", "cpu", "cores", "isa")
    return "; ".join(
        f"{fact} {_as_text(getattr(old, fact))}, now {_as_text(getattr(new, fact))}"
        for fact in facts
        if getattr(old, fact) != getattr(new, fact)
    )


def compare(old: Sequence[BenchRow], new: Sequence[BenchRow]) -> tuple[Comparison, ...]:
    """Compare each new row with the old one of the same artifact, engine, provider and threads.

    A median is "slower" or "faster" if its 95 % interval does not overlap the old one's and their
    ratio exceeds `MIN_RATIO`. The engine's version may differ between the two.

    Returns one comparison for each new row, in their order.
    """
    known = {_key(row): row for row in old}
    return tuple(_compared(known.get(_key(row)), row) for row in new)


def regressions(compared: Sequence[Comparison]) -> list[str]:
    """One message for each comparison whose verdict is "slower"."""
    return [
        f"{one.artifact} through {one.engine} takes {one.new_ms:.2f} ms, "
        f"{one.ratio:.2f} times the baseline's {one.old_ms:.2f}"
        for one in compared
        if one.verdict == "slower"
    ]


def _compared(old: BenchRow | None, new: BenchRow) -> Comparison:
    ratio = new.inference.p50_ms / old.inference.p50_ms if old else None
    slower = old is not None and _lies_above(new, old) and _ratio(new, old) > MIN_RATIO
    faster = old is not None and _lies_above(old, new) and _ratio(old, new) > MIN_RATIO
    return Comparison(
        artifact=new.artifact,
        engine=new.engine,
        threads=new.threads,
        old_ms=old.inference.p50_ms if old else None,
        old_interval=old.inference.p50_interval if old else None,
        new_ms=new.inference.p50_ms,
        new_interval=new.inference.p50_interval,
        ratio=ratio,
        verdict=(
            "not in the baseline" if old is None
            else "slower" if slower
            else "faster" if faster
            else "same"
        ),
    )  # fmt: skip


def _lies_above(upper: BenchRow, lower: BenchRow) -> bool:
    """Whether the whole interval of `upper`'s median is above that of `lower`'s."""
    low, high = upper.inference.p50_interval.low_ms, lower.inference.p50_interval.high_ms
    return low is not None and high is not None and low > high


def _ratio(row: BenchRow, other: BenchRow) -> float:
    return row.inference.p50_ms / other.inference.p50_ms


def _key(row: BenchRow) -> tuple[str, str, str, int]:
    return row.artifact, row.engine.partition(" ")[0], row.provider, row.threads


def _as_text(fact: object) -> str:
    return " ".join(fact) if isinstance(fact, tuple) else str(fact)
