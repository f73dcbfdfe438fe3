import sqlite3
import threading
from datetime import datetime, timedelta

import pytest
from sqlalchemy import create_engine, text

from tuneward.errors import StorageError
from tuneward.storage.database import Database, now


@pytest.fixture
def database(tmp_path):
    database = Database.at(tmp_path / "with space?and%mark.db")
    with database.write() as c:
        c.execute(text("CREATE TABLE t (x INTEGER PRIMARY KEY)"))
    return database


def rows(database: Database) -> list[int]:
    with database.read() as c:
        return [row[0] for row in c.execute(text("SELECT x FROM t ORDER BY x"))]


def test_now_is_utc_with_microseconds():
    moment = now()
    assert moment.endswith("+00:00")
    assert len(moment) == 32
    assert datetime.fromisoformat(moment).utcoffset() == timedelta(0)


def test_pragmas(database):
    with database.read() as c:
        read = {
            n: c.execute(text(f"PRAGMA {n}")).scalar()
            for n in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert read == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_a_body_that_raises_is_rolled_back(database):
    def interrupted():
        with database.write() as c:
            c.execute(text("INSERT INTO t VALUES (1)"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert rows(database) == []


def test_reading_writes_nothing(database):
    with database.read() as c:
        c.execute(text("INSERT INTO t VALUES (1)"))
    assert rows(database) == []


def test_a_reader_sees_one_state(database):
    with database.read() as c:
        assert c.execute(text("SELECT count(*) FROM t")).scalar() == 0
        with database.write() as w:
            w.execute(text("INSERT INTO t VALUES (1)"))
        assert c.execute(text("SELECT count(*) FROM t")).scalar() == 0
    assert rows(database) == [1]


def test_writers_exclude_each_other_from_their_first_moment(database):
    other = Database(database.engine.url)  # another pool, as another process has

    def work(mine: Database) -> None:
        for _ in range(50):
            with mine.write() as c:
                highest = c.execute(text("SELECT coalesce(max(x), -1) FROM t")).scalar_one()
                c.execute(text("INSERT INTO t VALUES (:x)"), {"x": highest + 1})

    threads = [threading.Thread(target=work, args=(mine,)) for mine in (database, database, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(database) == list(range(150))


def test_a_write_inside_a_write_is_a_fault_of_ours(database):
    with pytest.raises(AssertionError), database.write(), database.write():
        pass
    with database.write():
        pass  # and leaves no trace


def test_a_full_disk_is_explained_and_rolled_back(database):
    def fill():
        with database.write() as c:
            c.execute(text("INSERT INTO t VALUES (1)"))
            c.execute(text("PRAGMA max_page_count = 10"))
            c.execute(text("CREATE TABLE big (x BLOB)"))
            c.execute(text("INSERT INTO big VALUES (zeroblob(1000000))"))

    with pytest.raises(StorageError, match="TW-STOR-007"):
        fill()
    assert rows(database) == []


def test_a_file_that_is_no_database_is_explained(tmp_path):
    (tmp_path / "x.db").write_bytes(b"this is no database, whatever its name says" * 50)
    with pytest.raises(StorageError, match="not a database") as caught, Database.at(tmp_path / "x.db").read() as c:
        c.execute(text("SELECT 1"))
    (fault,) = caught.value.faults
    assert (fault.code, fault.place) == ("TW-STOR-006", str(tmp_path / "x.db"))
    assert "restore it from a backup" in fault.cure


def test_a_row_twice_is_explained_without_its_values(database):
    twice = [{"x": 77123}, {"x": 77123}]
    with pytest.raises(StorageError, match="TW-STOR-008") as caught, database.write() as c:
        c.execute(text("INSERT INTO t VALUES (:x)"), twice)
    assert "77123" not in str(caught.value)
    assert "77123" not in str(caught.value.__cause__)


def test_a_database_held_by_others_is_explained(database, monkeypatch):
    monkeypatch.setattr("tuneward.storage.database.BUSY_TIMEOUT_SECONDS", 0)
    holder = sqlite3.connect(str(database.engine.url.database), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    database.close()
    with pytest.raises(StorageError, match="locked"), database.write():
        pytest.fail("entered")
    holder.execute("ROLLBACK")


def test_an_unknown_url_is_refused():
    for url in ("nonsense", "oracle9://x", "postgresql+nodriver://h/d"):
        with pytest.raises(StorageError, match="TW-STOR-006"):
            Database(url)


@pytest.mark.parametrize("url", ["sqlite://u:s3cret@h:port/d", "sqlite//u:s3cret@h", "sqlite://u:pass:s3cret@h:99x/d"])
def test_a_malformed_url_is_refused_without_its_password(url):
    with pytest.raises(StorageError, match="not well formed") as caught:
        Database(url)
    assert "s3cret" not in str(caught.value)


class RecordingDriver:
    """A DBAPI that reaches no server and keeps every statement, with the ends of transactions."""

    paramstyle = "pyformat"
    apilevel = "2.0"

    class Error(Exception):
        pass

    def __init__(self):
        self.said = []
        self.description = None
        self.rowcount = -1
        self.autocommit = False

    def connect(self, *_, **__):
        return self

    def cursor(self, *_, **__):
        return self

    def execute(self, statement, parameters=None):
        self.said.append(statement)

    def commit(self):
        self.said.append("COMMIT")

    def rollback(self):
        self.said.append("ROLLBACK")

    def close(self):
        pass


@pytest.fixture
def postgresql(monkeypatch):
    """The statements that a PostgreSQL server would get, in order. No server is here: what it does is not tested."""
    driver = RecordingDriver()

    def engine(url, **options):
        return create_engine(url, module=driver, _initialize=False, **options)

    monkeypatch.setattr("tuneward.storage.database.create_engine", engine)
    return Database("postgresql+pg8000://u@h/d"), driver.said


def test_on_postgresql_a_read_asks_for_one_state_before_anything_else(postgresql):
    database, said = postgresql
    with database.read() as c:
        c.execute(text("SELECT 1"))
        c.execute(text("SELECT 2"))
    statements = [line for line in said if line != "ROLLBACK"]
    assert statements == ["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", "SELECT 1", "SELECT 2"]
    assert "COMMIT" not in said


def test_on_postgresql_a_write_takes_its_lock_first_and_may_write(postgresql):
    database, said = postgresql
    with database.write() as c:
        c.execute(text("INSERT INTO t VALUES (1)"))
    statements = [line for line in said if line != "ROLLBACK"]
    assert "pg_advisory_xact_lock" in statements[0]
    assert statements[1:] == ["INSERT INTO t VALUES (1)", "COMMIT"]
