"""Database: connections and transactions on the site's records.

Place on the road: under every step; ``governance.change`` and ``repository`` are handed its connections. Knows SQLite
(the embedded default) and PostgreSQL, and no table.

A write transaction excludes every other writer from its first moment on (``BEGIN IMMEDIATE``, or an advisory lock on
PostgreSQL), so that what it read still holds when it commits and the audit log's numbers have no gap. Reading changes
no byte of an SQLite file: its first writer puts it into WAL mode, after whoever opens a site has looked whose it is.
"""

import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from sqlalchemy import URL, Connection, create_engine, event, exc, text

from tuneward.digests import canonical_json
from tuneward.errors import Fault, StorageError
from tuneward.storage.files import read_only

#: How long a writer waits for another process's transaction.
BUSY_TIMEOUT_SECONDS = 30
_WRITES = "tuneward_writes"  # execution option that turns BEGIN into BEGIN IMMEDIATE
_LEAST_FREE_BYTES = 1 << 20
_ADVISORY_LOCK = 0x54554E45  # "TUNE": one writer at a time on PostgreSQL


def now() -> str:
    """This moment in UTC, ISO 8601 with microseconds and ``+00:00``."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class DamagedJson(str):
    """Stands for the value of a column whose text is no JSON, so that whoever knows the row can name it."""

    __slots__ = ()


class Database:
    """A pool of connections to one database.

    Args:
        url: SQLAlchemy URL; :meth:`at` makes the one for an SQLite file.
        read_only: refuse every write.

    Raises:
        StorageError: when the URL is not understood or its driver is not installed.
    """

    def __init__(self, url: str | URL, *, read_only: bool = False) -> None:
        try:
            # parameters are hidden so that no error text ever carries a row's values
            self.engine = create_engine(
                url,
                hide_parameters=True,
                json_serializer=lambda value: canonical_json(value).decode(),
                json_deserializer=_read_json,
            )
        except (exc.ArgumentError, ImportError, ValueError) as error:  # its text may quote the URL, password and all
            driver = isinstance(error, exc.NoSuchModuleError | ImportError)
            what = f"the database URL cannot be used: {error if driver else 'it is not well formed'}"
            cure = "set TUNEWARD_DATABASE_URL to driver://user:password@host:port/name, with %-escapes in the password"
            raise StorageError(Fault("TW-STOR-006", what, "TUNEWARD_DATABASE_URL", cure)) from None
        self.place = str(self.engine.url.database if self._is_sqlite else self.engine.url.render_as_string())
        self.read_only = read_only
        self._writer = threading.Lock()  # fairer and faster among threads than SQLite's polling
        self._writing = threading.local()
        if self._is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)

    @classmethod
    def at(cls, path: Path, *, writable: bool = True) -> "Database":
        """The SQLite database in the file ``path``.

        Where its folder cannot be written, SQLite cannot make the ``-shm`` that it wants beside a database in WAL mode.
        It reads without one a file that is said to be immutable; but then it does not look into the ``-wal``, so a
        file with a ``-wal`` that holds something is read with the ``-shm`` that lies there, or not at all.
        """
        if writable:
            return cls(URL.create("sqlite", database=str(path)))
        journal = path.with_name(f"{path.name}-wal")
        journalled = journal.is_file() and journal.stat().st_size > 0
        query = {"mode": "ro", "uri": "true"} | ({} if journalled else {"immutable": "1"})
        database = cls(URL.create("sqlite", database=f"file:{quote(str(path))}", query=query), read_only=True)
        database.place = str(path)
        return database

    @property
    def _is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and is rolled back at the end.

        SQLite's reads are so by themselves; PostgreSQL, whose every statement would see what others committed by then,
        is told in the transaction's first statement.

        Raises:
            StorageError: when the database cannot be read.
        """
        with self._explained(), self.engine.connect() as connection, connection.begin() as transaction:
            try:
                if not self._is_sqlite:
                    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
                yield connection
            finally:
                transaction.rollback()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end, and is rolled back when the body raises.

        Must not be entered twice by one thread.

        Raises:
            StorageError: when the database cannot be written, another process holds it for longer than
                ``BUSY_TIMEOUT_SECONDS``, or a row contradicts a constraint.
        """
        if self.read_only:
            raise StorageError(read_only(self.place))
        assert not getattr(self._writing, "now", False), "a write inside a write would wait for itself"
        with self._writer, self._explained():
            self._writing.now = True
            try:
                with self.engine.connect() as plain:
                    connection = plain.execution_options(**{_WRITES: True})
                    with connection.begin():
                        if not self._is_sqlite:
                            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
                        yield connection
            finally:
                self._writing.now = False

    def check(self) -> None:
        """Read every page of an SQLite file and see that it hangs together; takes as long as the file is large.

        Raises:
            StorageError: a page is damaged.
        """
        if not self._is_sqlite:
            return
        with self.read() as connection:
            found = str(connection.execute(text("PRAGMA quick_check(1)")).scalar())
        if found != "ok":
            cure = "the file is damaged; restore it from a backup"
            raise StorageError(Fault("TW-STOR-006", " ".join(found.split()), self.place, cure))

    def close(self) -> None:
        """Close every pooled connection; the database opens again at the next use."""
        self.engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except exc.IntegrityError as error:
            raise StorageError(
                Fault(
                    "TW-STOR-008", str(error.orig), self.place, "a row with this name exists, or one it names does not"
                )
            ) from error
        except (exc.DBAPIError, exc.TimeoutError) as error:
            fault = _database_fault(error, self.place)
            if self.read_only and "unable to open" in fault.message:
                cure = "its newest rows lie in site.db-wal: copy the project to where it can be written"
                fault = replace(fault, cure=cure)
            raise StorageError(fault) from error
        except UnicodeDecodeError:  # rubbish where SQLite keeps text
            cure = "the file is damaged; restore it from a backup"
            raise StorageError(Fault("TW-STOR-006", "holds text that is not UTF-8", self.place, cure)) from None


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return DamagedJson("damaged JSON")


def refuse_rubbish(path: Path) -> None:
    """See that a file is an SQLite database, without touching it or what its ``-wal`` holds.

    An ordinary connection would, as it closes, bring a ``-wal`` that was left behind into whatever lies there now. The
    look goes through SQLite, since closing a file of one's own would take this process's locks on it away.

    Raises:
        StorageError: it is none.
    """
    try:
        with closing(sqlite3.connect(_uri(path, mode="ro", immutable="1"), uri=True)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        raise StorageError(_database_fault(error, str(path))) from error


def _uri(path: Path, **query: str) -> str:
    return f"file:{quote(str(path))}?{urlencode(query)}"


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # we begin and commit ourselves
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    if writes:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _no_room(reason: str, place: str) -> bool:
    """Whether an unexplained error comes of a full disk: SQLite does not say so where its log cannot grow."""
    try:
        return "disk I/O error" in reason and shutil.disk_usage(Path(place).parent).free < _LEAST_FREE_BYTES
    except OSError:
        return False


def _database_fault(error: Exception, place: str) -> Fault:
    reason = str(getattr(error, "orig", error))
    if isinstance(getattr(error, "orig", error), sqlite3.Error) and ("full" in reason or _no_room(reason, place)):
        return Fault("TW-STOR-007", "nothing was written: " + reason, place, "free some space and try again")
    cures = {
        "locked": "another program holds the database; end it and try again",
        "readonly": "check the permissions of the file and its folder",
        "not a database": "the file was overwritten; restore it from a backup",
        "malformed": "the file is damaged; restore it from a backup",
        "unable to open": "check that the site's folder is there and writable",
    }
    cure = next((cure for mark, cure in cures.items() if mark in reason), "check the database")
    return Fault("TW-STOR-006", reason, place, cure)
