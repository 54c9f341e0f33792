"""`edgetl bench` on other machines: one with --on, several with --inventory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edgetl.benchmarking.reports import BenchReport, BenchRow
from edgetl.bundle.archive import Bundle
from edgetl.cli.bench_tables import between_ms
from edgetl.cli.hosts import ResultStore, Where, error_cell, session_on
from edgetl.cli.show import mb, ms, paragraph, print_or_write, table
from edgetl.remote.commands import Session, bench_there
from edgetl.remote.compare import validity
from edgetl.remote.fleet import Outcome, require_all
from edgetl.remote.reports import BenchOnHost, BenchOnHosts

# How long a machine may take to become idle and cool, unless --cool-down says something else.
_COOL_DOWN_S = 120.0


class HostBench(NamedTuple):
    """What to measure on other machines.

    Attributes:
        bundle: the bundle.
        pictures: picture files; empty: only inference is timed.
        options: the options of `edgetl bench` that say what and how to time.
        cool_down_s: how long to wait at most until a machine is idle and cool; None: 120 s.
        store: where reports are stored.
    """

    bundle: Bundle
    pictures: Sequence[Path]
    options: Mapping[str, Any]
    cool_down_s: float | None
    store: ResultStore

    def on_one(self, where: Where) -> BenchReport:
        """Measure on the machine of --on. Raises EdgetlError."""
        assert where.place
        with session_on(where.place, where.ssh_config) as session:
            return self._measure(session)

    def show_on_all(self, where: Where, json_file: Path | None) -> dict[str, BenchReport]:
        """Measure on the hosts of an inventory, and print all results; returns them by host.

        Raises RemoteError, at the end, if a host failed.
        """
        outcomes = where.on_all(self._measure)
        hosts = tuple(
            BenchOnHost(
                host=one.host,
                report=one.value,
                error=str(one.error or ""),
                hint=one.error.hint if one.error else "",
            )
            for one in outcomes
        )
        report = BenchOnHosts(seed=where.seed, hosts=hosts)
        print_or_write(report, lambda _: _text(outcomes), json_file)
        self.store.require_complete()
        require_all(outcomes, lambda report: bool(report.failed))
        return {one.host: one.value for one in outcomes if one.value}

    def _measure(self, session: Session) -> BenchReport:
        report = bench_there(
            session,
            self.bundle,
            self.pictures,
            self._arguments(),
            engine=self.options["engine"],
            cool_down_s=_COOL_DOWN_S if self.cool_down_s is None else self.cool_down_s,
        )
        self.store.add(report, session.connection.address.name)
        return report

    def _arguments(self) -> list[str]:
        """The options as arguments of the command on the other machine."""
        valued = ("engine", "artifact", "threads", "calls", "mode")
        given = [(name, self.options[name]) for name in valued if self.options[name] is not None]
        words = [f"--{name}={value}" for name, value in given]
        return [*words, *(["--profile"] if self.options["profiled"] else [])]


def _text(outcomes: Sequence[Outcome[BenchReport]]) -> str:
    """Format a row for each host, artifact and engine, and then each host's verdict."""
    columns: dict[str, list[str]] = {}
    for cells in (cells for one in outcomes for cells in _rows(one)):
        for title in _HEADER:
            columns.setdefault(title, []).append(cells.get(title, "-"))
    shown = {title: cells for title, cells in columns.items() if set(cells) != {"-"}}
    lines = list(zip(*shown.values(), strict=True))
    verdicts = [paragraph(f"{o.host}: {o.value.verdict.text}") for o in outcomes if o.value]
    return "\n\n".join([table(list(shown), lines, keys=2), *verdicts])


_HEADER = (
    "host", "artifact", "engine", "threads", "MB", "p50 ms", "95 %", "p90 ms",
    "picture to prediction ms", "result",
)  # fmt: skip


def _rows(outcome: Outcome[BenchReport]) -> list[dict[str, str]]:
    """The cells of a host's rows by their titles; a failure's reason is its result."""
    report = outcome.value
    if report is None:
        return [{"host": outcome.host, "result": error_cell(outcome)}]
    return [
        *(_cells(row, report) | {"host": outcome.host} for row in report.rows),
        *(
            {
                "host": outcome.host,
                "artifact": failed.artifact,
                "engine": failed.engine,
                "result": f"{failed.reason} {failed.hint}".strip(),
            }
            for failed in report.failed
        ),
    ]


def _cells(row: BenchRow, report: BenchReport) -> dict[str, str]:
    return {
        "artifact": row.artifact,
        "engine": row.engine,
        "threads": str(row.threads),
        "MB": mb(row.bytes),
        "p50 ms": ms(row.inference.p50_ms),
        "95 %": between_ms(row.inference.p50_interval),
        "p90 ms": ms(row.inference.p90_ms),
        "picture to prediction ms": ms(row.end_to_end.p50_ms if row.end_to_end else None),
        "result": validity(report),
    }
