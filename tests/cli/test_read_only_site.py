"""A site on a disk that can only be read: it is shown and verified, and whoever would write to it is refused.

One fixture lets the process believe that the folder is not writable, so that these tests run everywhere and for every
user; another truly mounts it read-only, where the machine lets us.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import tuneward
from tuneward.cli.main import main
from tuneward.errors import StorageError
from tuneward.storage.site import Site
from tuneward.workflows.access import create_key
from tuneward.workflows.init import init
from tuneward.workflows.workspace import open_office

READS = [("status",), ("log",), ("key", "list"), ("member", "list"), ("approve", "list"), ("init",)]
WRITES = [
    ("key", "create", "late"),
    ("member", "add", "eve", "--role", "engineer"),
    ("log", "--checkpoint"),
    ("pull", "nowhere"),
    ("run",),
]
PROJECT = """\
project: read-only
purpose: Nothing but to be looked at.
base: nowhere
data: {train: [t.jsonl], test: [t.jsonl], legal_basis: contract}
evaluation: {task: {kind: text}, gate: {}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose names need escaping in a URI, with one event that lies in no journal any more."""
    made = tmp_path / "made"
    init(made, actor="ada")
    (made / "tuneward.yaml").write_text(PROJECT, encoding="utf-8")
    with closing(sqlite3.connect(made / ".tuneward" / "site.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    folder = tmp_path / "read only? 100%"
    shutil.copytree(made, folder, ignore=shutil.ignore_patterns("site.db-*"))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TUNEWARD_ACTOR", "ada")
    monkeypatch.delenv("TUNEWARD_SITE", raising=False)
    monkeypatch.delenv("TUNEWARD_DATABASE_URL", raising=False)
    return folder


def deny(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on the operating system says that the folder cannot be written."""
    asked = os.access

    def access(path: Path, mode: int) -> bool:
        return not (mode & os.W_OK and Path(path).is_relative_to(folder)) and asked(path, mode)

    monkeypatch.setattr(os, "access", access)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json"])
    printed = json.loads(capsys.readouterr().out)
    return int(ended.value.code or 0), [fault["code"] for fault in printed.get("error", {}).get("faults", [])]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_is_shown_and_nothing_is_left_in_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(folder)
    deny(folder, monkeypatch)
    for command in READS:
        assert run(capsys, *command) == (0, []), command
    assert run(capsys, "verify") == (8, ["TW-PROOF-010"])  # nothing is registered yet
    assert files(folder) == before


def test_every_write_is_refused_with_its_cure(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(folder)
    deny(folder, monkeypatch)
    for command in WRITES:
        assert run(capsys, *command) == (StorageError.exit_code, ["TW-STOR-015"]), command
    assert files(folder) == before
    with pytest.raises(StorageError) as caught, Site.open(folder / ".tuneward").database.write():
        pytest.fail("entered")
    assert "chmod u+w" in caught.value.faults[0].cure


def test_rows_that_lie_only_in_the_journal_are_read_and_not_overlooked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    office = open_office(folder, actor="ada")
    key = create_key(office, "in the journal").key  # the open connection keeps the journal from being folded in
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    office.site.database.close()
    monkeypatch.chdir(copy)
    deny(copy, monkeypatch)
    with pytest.raises(SystemExit):
        main(["key", "list", "--json"])
    assert key.id in capsys.readouterr().out


#: Runs commands given as JSON in one process and prints, as JSON, the exit code and output of each.
SEVERAL = """
import contextlib, io, json, sys
from tuneward.cli.main import main
done = []
for command in json.loads(sys.argv[1]):
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            main([*command, "--json"])
    except SystemExit as ended:
        done.append((ended.code, json.loads(said.getvalue())))
print(json.dumps(done))
"""


def mounted(folder: Path, *commands: tuple[str, ...]) -> list[tuple[int, list[str], list[str]]]:
    """Exit code, fault codes and cures of commands in the folder, bound read-only in a mount namespace of its own."""
    bind = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && cd "$0" && ! touch x 2>/dev/null'
    inside = ["unshare", "-rm", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*inside, bind, folder], capture_output=True).returncode:
        pytest.skip("no right to mount here")
    here = {**os.environ, "PYTHONPATH": str(Path(tuneward.__file__).parents[1])}
    call = [*inside, f'{bind} && exec "$@"', folder, sys.executable, "-c", SEVERAL, json.dumps(commands)]
    done = subprocess.run(call, env=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    faults = [(code, printed.get("error", {}).get("faults", [])) for code, printed in json.loads(done.stdout)]
    return [(code, [f["code"] for f in found], [f["cure"] for f in found]) for code, found in faults]


def test_a_disk_that_is_mounted_read_only(folder: Path) -> None:
    done = [(code, found) for code, found, _ in mounted(folder, *READS, *WRITES)]
    assert done == [(0, [])] * len(READS) + [(StorageError.exit_code, ["TW-STOR-015"])] * len(WRITES)


def test_a_journal_without_its_index_is_refused_where_it_cannot_be_read(folder: Path, tmp_path: Path) -> None:
    office = open_office(folder, actor="ada")
    create_key(office, "in the journal")
    copy = Path(shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("site.db-shm")))
    office.site.database.close()
    ((code, found, cures),) = mounted(copy, ("key", "list"))
    assert (code, found) == (StorageError.exit_code, ["TW-STOR-006"])
    assert "site.db-wal" in cures[0]
