"""A site.db that is rubbish, cut off, empty or another program's: one clear refusal by every command, and not a byte
of it overwritten."""

import gc
import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tuneward.cli.main import main
from tuneward.errors import MachineError, StorageError
from tuneward.storage.site import Site
from tuneward.workflows.access import create_key
from tuneward.workflows.init import init
from tuneward.workflows.workspace import open_office

PAGE = 4096
COMMANDS = [
    ("status",),
    ("log",),
    ("log", "--checkpoint"),
    ("verify",),
    ("key", "list"),
    ("key", "create", "late"),
    ("member", "add", "eve", "--role", "engineer"),
    ("approve", "list"),
    ("prepare",),
    ("train",),
    ("deploy",),
    ("serve",),
    ("init",),
]


def other_program(path: Path, *, revision: str | None = None) -> bytes:
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE recipe (name TEXT)")
        if revision:
            database.execute("CREATE TABLE alembic_version (version_num TEXT)")
            database.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
    database.close()
    return path.read_bytes()


def root_page(database: bytes, table: str, scratch: Path) -> int:
    scratch.write_bytes(database)
    with sqlite3.connect(scratch) as opened:
        (page,) = opened.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    opened.close()
    return int(page) - 1


DAMAGES: dict[str, Callable[[bytes, Path], bytes]] = {
    "random bytes": lambda good, scratch: random.Random(7).randbytes(3 * PAGE),
    "text": lambda good, scratch: b"not a database at all\n" * 100,
    "nothing left": lambda good, scratch: b"",
    **{
        f"cut after {length} bytes": lambda good, scratch, length=length: good[:length]  # type: ignore[misc]
        for length in (1, 16, 99, 100, 1000, PAGE, 2 * PAGE, 5 * PAGE + 17)
    },
    "first page zero": lambda good, scratch: bytes(PAGE) + good[PAGE:],
    "first page random after its header": lambda good, scratch: (
        good[:100] + random.Random(7).randbytes(PAGE - 100) + good[PAGE:]
    ),
    "another program's": lambda good, scratch: other_program(scratch),
    "another program's with migrations": lambda good, scratch: other_program(scratch, revision="ae1027a6acf"),
    "another program's at our revision": lambda good, scratch: other_program(scratch, revision="0001"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with some keys and events, closed."""
    folder = tmp_path_factory.mktemp("made") / "project"
    init(folder, actor="ada")
    office = open_office(folder, actor="ada")
    for number in range(40):
        create_key(office, f"key {number}")
    office.site.database.close()
    gc.collect()
    with closing(sqlite3.connect(folder / ".tuneward" / "site.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = Path(shutil.copytree(made, tmp_path / "project"))
    monkeypatch.chdir(copy)
    monkeypatch.setenv("TUNEWARD_ACTOR", "ada")
    monkeypatch.delenv("TUNEWARD_SITE", raising=False)
    monkeypatch.delenv("TUNEWARD_DATABASE_URL", raising=False)
    return copy


def faults(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, str]]]:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json"])
    printed = json.loads(capsys.readouterr().out)
    return int(ended.value.code or 0), printed.get("error", {}).get("faults", [])


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_command_refuses_and_overwrites_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    database = folder / ".tuneward" / "site.db"
    bad = DAMAGES[damage](database.read_bytes(), tmp_path / "scratch.db")
    assert not database.with_name("site.db-wal").exists()
    database.write_bytes(bad)
    for command in COMMANDS:
        code, found = faults(capsys, *command)
        assert code == StorageError.exit_code, command
        assert len(found) == 1, command
        assert found[0]["code"] in {"TW-STOR-003", "TW-STOR-004", "TW-STOR-006"}, command
        assert found[0]["place"] == str(database), command
        assert found[0]["cure"], command
        assert database.read_bytes() == bad, command
    code, _ = faults(capsys, "doctor")
    assert code == MachineError.exit_code


def test_a_journal_that_was_left_is_not_poured_into_rubbish(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database, journal = folder / ".tuneward" / "site.db", folder / ".tuneward" / "site.db-wal"
    office = open_office(folder, actor="ada")
    create_key(office, "in the journal")
    left = journal.read_bytes()
    assert left
    office.site.database.close()
    bad = random.Random(7).randbytes(3 * PAGE)
    database.write_bytes(bad)
    journal.write_bytes(left)
    code, found = faults(capsys, "key", "list")
    assert (code, [fault["code"] for fault in found]) == (StorageError.exit_code, ["TW-STOR-006"])
    assert (database.read_bytes(), journal.read_bytes()) == (bad, left)


@pytest.mark.parametrize("filling", [bytes(PAGE), b"\xff" * PAGE, random.Random(7).randbytes(PAGE)])
@pytest.mark.parametrize("table", ["audit_event", "member", "api_key"])
def test_an_overwritten_page_is_a_refusal_of_whoever_meets_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, filling: bytes
) -> None:
    database = folder / ".tuneward" / "site.db"
    good = database.read_bytes()
    page = root_page(good, table, tmp_path / "scratch.db")
    bad = good[: page * PAGE] + filling + good[(page + 1) * PAGE :]
    database.write_bytes(bad)
    meets = {"audit_event": ["log"], "member": ["member", "list"], "api_key": ["key", "list"]}[table]
    code, found = faults(capsys, *meets)
    assert (code, [fault["code"] for fault in found]) == (StorageError.exit_code, ["TW-STOR-006"])
    for command in (["log"], ["key", "list"], ["member", "list"], ["approve", "list"], ["verify"], ["init"]):
        code, found = faults(capsys, *command)
        assert "TW-ENV-002" not in {fault["code"] for fault in found}, command
    assert database.read_bytes() == bad
    code, _ = faults(capsys, "doctor")
    assert code == MachineError.exit_code


def test_reading_a_sound_site_changes_no_byte_of_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = folder / ".tuneward" / "site.db"
    before = database.read_bytes()
    assert faults(capsys, "log")[0] == 0
    assert faults(capsys, "key", "list")[0] == 0
    assert database.read_bytes() == before
    Site.open(folder / ".tuneward").database.check()
