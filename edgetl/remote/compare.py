"""What was measured of bundles on hosts, side by side."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from edgetl.benchmarking.baseline import compare
from edgetl.benchmarking.reports import (
    BenchReport,
    BenchRow,
    Comparison,
    Latency,
    QuantileInterval,
)
from edgetl.bundle.archive import Bundle
from edgetl.core.errors import EdgetlError
from edgetl.core.schema import Frozen, unknown_choice_hint
from edgetl.remote.results import Results, Stored

Validity = Literal["valid", "invalid", "quick look", "quick look, disturbed"]
_DIGEST = re.compile(r"[0-9a-f]{6,64}")


class Measurement(Frozen, kw_only=True, frozen=True):
    """The newest measurement of an artifact with an engine on a host.

    Attributes:
        bundle, bundle_digest: the bundle's path when it was measured, and its hash.
        host, fingerprint: the host's name for the user, and what its times depend on.
        measured_at: in UTC, e.g. "2026-11-27T09:30:00+00:00".
        p50_interval: the 95 % interval of the median.
        ratio: the median divided by that of the first bundle on the same host, with the same
            artifact, engine, provider and threads; None if that was not measured.
        validity: whether the rules of `--mode valid` were kept or broken; "quick look" in other
            modes, "disturbed" if the machine was busy, hot or slowed down.
    """

    bundle: str
    bundle_digest: str
    host: str
    fingerprint: str
    artifact: str
    engine: str
    provider: str
    threads: int
    bytes: int
    measured_at: str
    p50_ms: float
    p50_interval: QuantileInterval
    p90_ms: float
    ratio: float | None
    validity: Validity


class HostComparison(Frozen, kw_only=True, frozen=True):
    """A bundle compared with the first one on the same host, as with a baseline.

    Attributes:
        host, fingerprint: the host.
        bundle_digest: the bundle's hash.
        rows: one for each of its measurements there.
    """

    host: str
    fingerprint: str
    bundle_digest: str
    rows: tuple[Comparison, ...]


class CompareReport(Frozen, kw_only=True, frozen=True):
    """The report of `edgetl compare`.

    Attributes:
        results: the file of the results.
        bundles: the bundles' names by their hashes, in the order in which they are compared.
        measurements: the newest of each bundle, host, artifact, engine, provider and threads.
        comparisons: of each bundle but the first, on each host that has measured both.
    """

    results: str
    bundles: dict[str, str]
    measurements: tuple[Measurement, ...]
    comparisons: tuple[HostComparison, ...]


class _Newest(NamedTuple):
    """A row and the report that it is from."""

    row: BenchRow
    stored: Stored


# Host and fingerprint; artifact, engine with version, provider and threads.
_Host = tuple[str, str]
_Target = tuple[str, str, str, int]
_Found = dict[str, dict[_Host, dict[_Target, _Newest]]]


def compare_bundles(
    results: Results, bundles: Sequence[str] = (), hosts: Sequence[str] = ()
) -> CompareReport:
    """Compare what was measured.

    Args:
        results: the file of results.
        bundles: paths of bundles, or the beginnings of their hashes (6 digits or more); the others
            are compared with the first. Empty: all, in the order in which they were measured.
        hosts: names of hosts, or the beginnings of their fingerprints. Empty: all.

    Raises EdgetlError if nothing was measured, or a bundle or host is unknown.
    """
    stored = results.reports()
    if not stored:
        raise EdgetlError(
            f"'{results.path}' holds no results.",
            hint="measure first: edgetl bench BUNDLE --on user@host.",
        )
    known = list(dict.fromkeys(one.report.bundle_digest for one in stored))
    digests = [_digest(name, known) for name in bundles] or known
    stored = _of_hosts(stored, hosts)
    found = _newest(stored, digests)
    return CompareReport(
        results=str(results.path),
        bundles=_names(digests, stored),
        measurements=tuple(_measurements(found, digests)),
        comparisons=tuple(_comparisons(found, digests)),
    )


def _digest(name: str, known: Sequence[str]) -> str:
    """The hash of a bundle that is given as a path, or as the beginning of its hash."""
    if Path(name).exists() or not _DIGEST.fullmatch(name):
        digest = Bundle(name).digest
        if digest not in known:
            raise EdgetlError(
                f"'{name}' was not measured.", hint=f"measure it: edgetl bench {name} --on HOST."
            )
        return digest
    fitting = [digest for digest in known if digest.startswith(name)]
    if len(fitting) != 1:
        raise EdgetlError(
            f"{len(fitting)} measured bundles have a hash that begins with '{name}'.",
            hint="edgetl compare --json lists the hashes.",
        )
    return fitting[0]


def _of_hosts(stored: Iterable[Stored], hosts: Sequence[str]) -> list[Stored]:
    stored = list(stored)
    for host in hosts:
        if not any(_is_host(one, host) for one in stored):
            raise EdgetlError(
                f"Nothing was measured on '{host}'.",
                hint=unknown_choice_hint(host, {one.host for one in stored}),
            )
    return [one for one in stored if not hosts or any(_is_host(one, host) for host in hosts)]


def _is_host(stored: Stored, name: str) -> bool:
    prefix = _DIGEST.fullmatch(name) and stored.fingerprint.startswith(name)
    return stored.host == name or bool(prefix)


def _newest(stored: Iterable[Stored], digests: Sequence[str]) -> _Found:
    """The newest row of each bundle, host and target; `stored` is sorted, oldest first."""
    found: _Found = {digest: {} for digest in digests}
    for one in stored:
        hosts = found.get(one.report.bundle_digest)
        if hosts is None:
            continue
        targets = hosts.setdefault((one.host, one.fingerprint), {})
        for row in one.report.rows:
            targets[row.artifact, row.engine, row.provider, row.threads] = _Newest(row, one)
    return found


def _measurements(found: _Found, digests: Sequence[str]) -> Iterable[Measurement]:
    for digest in digests:
        for host, targets in sorted(found[digest].items()):
            first = found[digests[0]].get(host, {})
            for target, newest in targets.items():
                yield _measurement(newest, first.get(target))


def _measurement(newest: _Newest, first: _Newest | None) -> Measurement:
    row, stored = newest
    timed: Latency = row.inference
    return Measurement(
        bundle=stored.bundle,
        bundle_digest=stored.report.bundle_digest,
        host=stored.host,
        fingerprint=stored.fingerprint,
        artifact=row.artifact,
        engine=row.engine,
        provider=row.provider,
        threads=row.threads,
        bytes=row.bytes,
        measured_at=stored.measured_at.isoformat(),
        p50_ms=timed.p50_ms,
        p50_interval=timed.p50_interval,
        p90_ms=timed.p90_ms,
        ratio=timed.p50_ms / first.row.inference.p50_ms if first else None,
        validity=validity(stored.report),
    )


def validity(report: BenchReport) -> Validity:
    """What a report's verdict says of its figures, in one or two words."""
    if report.mode == "valid":
        return "valid" if report.verdict.valid else "invalid"
    return "quick look, disturbed" if report.verdict.reasons else "quick look"


def _comparisons(found: _Found, digests: Sequence[str]) -> Iterable[HostComparison]:
    first, *others = digests
    for digest in others:
        for host, targets in sorted(found[digest].items()):
            if host not in found[first]:
                continue
            old = [newest.row for newest in found[first][host].values()]
            new = [newest.row for newest in targets.values()]
            yield HostComparison(
                host=host[0], fingerprint=host[1], bundle_digest=digest, rows=compare(old, new)
            )


def _names(digests: Sequence[str], stored: Iterable[Stored]) -> dict[str, str]:
    """Short names of bundles: the file's name, and where that is not enough, the hash, too."""
    files: Mapping[str, str] = {one.report.bundle_digest: Path(one.bundle).name for one in stored}
    names = {digest: files.get(digest, digest[:8]) for digest in digests}
    counts = list(names.values())
    return {
        digest: f"{name} {digest[:8]}" if counts.count(name) > 1 else name
        for digest, name in names.items()
    }
