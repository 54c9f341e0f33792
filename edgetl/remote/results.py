"""The results of benchmarks in one SQLite file, by bundle and host.

Several processes may write to the file at the same time. A report is stored whole or not at all.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import msgspec

from edgetl.benchmarking.reports import BenchReport, HostFacts
from edgetl.core.errors import EdgetlError
from edgetl.core.files import data_folder, make_folder
from edgetl.core.schema import from_json

SCHEMA_VERSION = 1
# Marks the file as edgetl's: "EDTL" in ASCII.
_APPLICATION = 0x4544544C
_BUSY_S = 30.0
# Two kernels of the same machine differ by some megabytes in what they leave for programs.
_MEMORY_STEP_BYTES = 64 * 2**20
_SCHEMA = (
    """
    CREATE TABLE host (
        fingerprint TEXT PRIMARY KEY,
        machine TEXT NOT NULL,
        cpu TEXT NOT NULL,
        isa TEXT NOT NULL,
        cores INTEGER NOT NULL,
        memory_bytes INTEGER NOT NULL,
        system TEXT NOT NULL,
        python TEXT NOT NULL,
        engines TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE report (
        id INTEGER PRIMARY KEY,
        bundle_digest TEXT NOT NULL,
        bundle TEXT NOT NULL,
        fingerprint TEXT NOT NULL REFERENCES host (fingerprint),
        host TEXT NOT NULL,
        measured_at TEXT NOT NULL,
        mode TEXT NOT NULL,
        valid INTEGER NOT NULL,
        document TEXT NOT NULL
    )
    """,
    "CREATE INDEX report_by_bundle_and_host ON report (bundle_digest, fingerprint)",
    # For queries by hand: a row for each artifact and engine of each report.
    """
    CREATE VIEW measurement AS
    SELECT report.id AS report, bundle_digest, bundle, fingerprint, host, measured_at, mode, valid,
           json_extract(value, '$.artifact') AS artifact,
           json_extract(value, '$.engine') AS engine,
           json_extract(value, '$.provider') AS provider,
           json_extract(value, '$.threads') AS threads,
           json_extract(value, '$.bytes') AS bytes,
           json_extract(value, '$.inference.p50_ms') AS p50_ms,
           json_extract(value, '$.inference.p90_ms') AS p90_ms,
           json_extract(value, '$.end_to_end.p50_ms') AS picture_p50_ms
    FROM report, json_each(report.document, '$.rows')
    """,
)


class Stored(NamedTuple):
    """A report in the file.

    Attributes:
        bundle: the path of the bundle, as it was when it was measured.
        fingerprint: of the host (`fingerprint_of`).
        host: what the user called it.
        measured_at: in UTC.
        report: the report.
    """

    bundle: str
    fingerprint: str
    host: str
    measured_at: datetime
    report: BenchReport


def default_file() -> Path:
    """Where results are stored unless a command names another file."""
    return data_folder() / "results.sqlite"


def fingerprint_of(host: HostFacts) -> str:
    """16 hex digits that are the same for hosts on which times can be compared.

    They depend on board, processor, instruction sets, cores, memory (in steps of 64 MiB), system,
    Python and the engines' versions.
    """
    memory = round(host.memory_bytes / _MEMORY_STEP_BYTES)
    facts = (host.machine, host.cpu, host.isa, host.cores, memory)
    software = (host.system, host.python, sorted(host.engines))
    return hashlib.sha256(msgspec.json.encode((facts, software))).hexdigest()[:16]


class Results:
    """A file of results, made if it does not exist.

    Raises EdgetlError if it cannot be written, is not such a file, or a newer edgetl made it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        make_folder(path.parent)
        with self._opened() as database:
            if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
                _make(database)
            _require_readable(database, path)

    def store(self, report: BenchReport, host: str, measured_at: datetime | None = None) -> None:
        """Add a report.

        Args:
            report: the report.
            host: the host's name for the user.
            measured_at: with a time zone; None: now.

        Raises EdgetlError if it cannot be written.
        """
        moment = (measured_at or datetime.now(timezone.utc)).astimezone(timezone.utc)
        facts = report.host
        fingerprint = fingerprint_of(facts)
        with self._opened() as database, _transaction(database):
            database.execute(
                "INSERT OR IGNORE INTO host VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    fingerprint,
                    facts.machine,
                    facts.cpu,
                    " ".join(facts.isa),
                    facts.cores,
                    facts.memory_bytes,
                    facts.system,
                    facts.python,
                    ", ".join(facts.engines),
                ),
            )
            database.execute(
                "INSERT INTO report (bundle_digest, bundle, fingerprint, host, measured_at, mode, "
                "valid, document) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    report.bundle_digest,
                    report.bundle,
                    fingerprint,
                    host,
                    moment.isoformat(timespec="seconds"),
                    report.mode,
                    report.verdict.valid,
                    msgspec.json.encode(report).decode(),
                ),
            )

    def reports(self) -> list[Stored]:
        """All reports, oldest first. Raises EdgetlError if one cannot be read."""
        query = (
            "SELECT bundle, fingerprint, host, measured_at, document FROM report "
            "ORDER BY measured_at, id"
        )
        with self._opened() as database:
            rows = database.execute(query).fetchall()
        return [
            Stored(
                bundle,
                fingerprint,
                host,
                datetime.fromisoformat(measured_at),
                from_json(document, BenchReport, where=f"a report in '{self.path}'"),
            )
            for bundle, fingerprint, host, measured_at, document in rows
        ]

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            database = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
            try:
                yield database
            finally:
                database.close()
        except (sqlite3.Error, ValueError) as error:
            raise EdgetlError(
                f"'{self.path}' cannot be used as a file of results: {error}.",
                hint="name another file with --results, or look at its permissions.",
            ) from error


def existing_results(path: Path) -> Results:
    """Open a file of results. Raises EdgetlError if it does not exist or is no such file."""
    if not path.is_file():
        raise EdgetlError(
            f"'{path}' does not exist: nothing was measured yet.",
            hint="measure first: edgetl bench BUNDLE --on user@host.",
        )
    return Results(path)


def _make(database: sqlite3.Connection) -> None:
    # Readers do not wait for writers; where the file system cannot do it, the old mode stays, and
    # if the file is locked, another process is making it.
    with suppress(sqlite3.OperationalError):
        database.execute("PRAGMA journal_mode = WAL")
    with _transaction(database):
        if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
            for statement in _SCHEMA:
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            database.execute(f"PRAGMA application_id = {_APPLICATION}")


def _require_readable(database: sqlite3.Connection, path: Path) -> None:
    """Raises EdgetlError if the file is another program's, or a newer edgetl made it."""
    if database.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
        raise EdgetlError(
            f"'{path}' is another program's database.", hint="name another file with --results."
        )
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise EdgetlError(
            f"'{path}' has schema version {version}; this edgetl reads up to {SCHEMA_VERSION}.",
            hint="update it: pip install --upgrade edgetl",
        )


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Do all of a block's changes or none; waits for other writers."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
