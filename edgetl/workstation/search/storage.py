"""Where a study is kept: an SQLite file, or a database that several machines share."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from sqlalchemy import URL, Connection, Engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from edgetl.core.errors import EdgetlError, first_line
from edgetl.core.quiet import quiet

# A running trial says every so often that it is alive; without a word for the grace period its
# process counts as dead, and the trial is tried again.
_HEARTBEAT_S, GRACE_S = 20, 120
_RETRIES = 2
# Another process may be making the tables at the same moment.
_ATTEMPTS, _WAIT_S = 5, 0.3
_BUSY_TIMEOUT_S = 60


class Place:
    """The address of a storage, whose password is never shown."""

    def __init__(self, storage: str) -> None:
        """`storage`: a database's URL, or the path of an SQLite file, which is made if missing.

        Raises EdgetlError if it is a URL that cannot be read.
        """
        if "://" not in storage:
            self.url = URL.create("sqlite", database=str(Path(storage).resolve()))
            return
        try:
            self.url = make_url(storage)
        except (ArgumentError, ValueError):
            # The text may hold a password: it is not repeated.
            raise EdgetlError(
                "--storage is not a database's URL.",
                hint="e.g. postgresql+psycopg://user@host/database, or the path of an SQLite file.",
            ) from None

    @property
    def is_file(self) -> bool:
        """Whether it is an SQLite file."""
        return self.url.get_backend_name() == "sqlite"

    def __str__(self) -> str:
        if self.is_file:
            return str(self.url.database)
        shown = {key: "***" if "pass" in key else value for key, value in self.url.query.items()}
        text = self.url.set(query=shown).render_as_string(hide_password=True)
        return text.replace(quote("***", safe=""), "***")

    def open(self) -> RDBStorage:
        """Open the storage, and make its tables if they are missing. Raises EdgetlError."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with self.errors(), quiet():
            try:
                storage = self._connected()
            except RuntimeError as error:  # its tables are another Optuna's
                raise self._unusable(error) from None
        if self.is_file:
            _take_turns(storage.engine)
        return storage

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn a database's errors into an EdgetlError without its password."""
        try:
            yield
        except ImportError as error:
            missing = getattr(error.__cause__, "name", None) or self.url.get_driver_name()
            raise EdgetlError(
                f"This database needs a driver that is not installed: {missing}.",
                hint="for PostgreSQL: pip install 'psycopg[binary]', and a URL that begins with "
                "postgresql+psycopg://",
            ) from None
        except (SQLAlchemyError, StorageInternalError) as error:
            raise self._unusable(error) from None

    def _unusable(self, error: BaseException) -> EdgetlError:
        return EdgetlError(
            f"The study's storage '{self}' cannot be used: {self._masked(error)}",
            hint="check --storage, and that the database is running and may be written.",
        )

    def _masked(self, error: BaseException) -> str:
        while error.__cause__ and not isinstance(error, SQLAlchemyError):
            error = error.__cause__
        text = first_line(getattr(error, "orig", None) or error)
        secrets = [self.url.password, *(v for k, v in self.url.query.items() if "pass" in k)]
        for secret in secrets:
            text = text.replace(str(secret), "***") if secret else text
        return text

    def _connected(self) -> RDBStorage:
        options = {"connect_args": {"timeout": _BUSY_TIMEOUT_S}} if self.is_file else {}
        for attempt in range(_ATTEMPTS):
            try:
                return RDBStorage(
                    self.url.render_as_string(hide_password=False),
                    engine_kwargs={"pool_pre_ping": True, **options},
                    heartbeat_interval=_HEARTBEAT_S,
                    grace_period=GRACE_S,
                    heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(_RETRIES),
                )
            except SQLAlchemyError as error:
                unreachable = isinstance(error, OperationalError) and not self.is_file
                if unreachable or attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(_WAIT_S)
        raise AssertionError("unreachable")


def _take_turns(engine: Engine) -> None:
    """Lock an SQLite file from a transaction's first statement on.

    By default SQLite locks only when something is written. Two processes could then both read
    that a trial waits, and both take it. Other databases lock the rows that are read.
    """

    @event.listens_for(engine, "connect")
    def begin_explicitly(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def lock(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections from before
