"""kill -9 in the middle of ``prepare``: the next call goes on from the journal and makes the same bytes."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.journey.tiny_project import ANSWER, COLOURS, make_project
from tuneward.domain.dataset import Dataset, RecordEntry
from tuneward.domain.finding import FindingEntry
from tuneward.errors import StorageError
from tuneward.governance.row_check import check_rows
from tuneward.progress import Silent
from tuneward.storage.repository import find
from tuneward.workflows.init import init
from tuneward.workflows.prepare import PrepareResult, prepare
from tuneward.workflows.pull import pull
from tuneward.workflows.workspace import Workspace, open_workspace

pytestmark = pytest.mark.journey

ROWS = 1400
TABLES = ("record", "finding", "terms", "entering")


class Heard(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a base, before its first ``prepare``."""
    folder = make_project(tmp_path_factory.mktemp("seed") / "project")
    draw = random.Random(1)
    with (folder / "train.jsonl").open("w", encoding="utf-8") as handle:
        for number in range(ROWS):
            words = " ".join(draw.choice(COLOURS) for _ in range(8))
            prompt = (
                f"{words} {number % 1300}, write to c{number}@example.org or +49 170 {draw.randrange(10**6, 10**7)}"
            )
            handle.write(json.dumps({"customer": f"c{number % 90}", "prompt": prompt, "answer": ANSWER}) + "\n")
    init(folder, actor="ada")
    workspace = open_workspace(folder, actor="ada")
    pull(workspace.office, "base", beside=folder)
    workspace.site.database.close()
    return folder


@pytest.fixture
def copied(seed: Path, tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(seed, tmp_path / name))


def content(workspace: Workspace, result: PrepareResult) -> object:
    """All that ``prepare`` made, but for the dataset's id and its time."""
    tree = workspace.site.artifacts.tree(result.dataset.tree)
    files = {path.name: path.read_bytes() for path in sorted(tree.iterdir())}
    with workspace.site.database.read() as c:
        records = [vars(entry) | {"dataset": ""} for entry in find(c, RecordEntry, order="digest")]
        findings = [vars(entry) | {"dataset": ""} for entry in find(c, FindingEntry)]
    key = lambda entry: json.dumps(entry, sort_keys=True)  # noqa: E731
    return files, result.dataset.fingerprint, result.counts, records, sorted(findings, key=key)


@pytest.fixture(scope="module")
def undisturbed(seed: Path, tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = Path(shutil.copytree(seed, tmp_path_factory.mktemp("undisturbed") / "project"))
    workspace = open_workspace(folder, actor="ada")
    return content(workspace, prepare(workspace, workers=1))


@pytest.mark.parametrize(
    ("where", "times", "known"),
    [
        ("tuneward.data.screening:Screening.screen", 100, False),
        ("tuneward.data.screening:Screening.screen", 700, True),
        ("tuneward.data.dataset:find_overlap", 1, True),
        ("tuneward.data.prepared:render_card", 1, True),
        ("tuneward.storage.repository:Ready.insert", 3, True),
        ("tuneward.governance.change:Change.put_entered", 1, True),
    ],
)
def test_what_was_killed_goes_on_and_ends_in_the_same_bytes(
    copied: Callable[[str], Path], undisturbed: object, where: str, times: int, known: bool
) -> None:
    folder = copied("killed")
    command = [sys.executable, "-m", "tests.journey.killed_prepare", str(folder), where, str(times)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    workspace, heard = open_workspace(folder, actor="ada"), Heard()
    with workspace.site.database.read() as c:
        assert find(c, RecordEntry) == find(c, FindingEntry) == find(c, Dataset) == []
    assert check_rows(workspace.site) == (), "nobody sees half a dataset"
    result = prepare(workspace, progress=heard)
    assert not result.reused
    assert content(workspace, result) == undisturbed
    said = [line for line in heard.said if "had been inspected before" in line]
    assert len(said) == (1 if known else len(said))
    if known:
        assert int(said[0].split()[0].replace(",", "")) >= 256
    assert check_rows(workspace.site) == ()
    with workspace.site.database.read() as c:
        counted = {table: c.execute(text(f"SELECT count(DISTINCT dataset) FROM {table}")).scalar() for table in TABLES}
    assert counted == {"record": 1, "finding": 1, "terms": 1, "entering": 0}, "what was half entered is swept"
    assert list((workspace.site.folder / "runs").iterdir()) == [], "nothing of the rows is left"
    assert [path.suffix for path in workspace.site.inspection_folder.iterdir()] == [".journal"]


def test_a_disk_that_fills_among_the_rows_loses_nothing(
    copied: Callable[[str], Path], undisturbed: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, heard = open_workspace(copied("full"), actor="ada"), Heard()
    written, taken = os.pwrite, 0

    def full(descriptor: int, data: bytes, place: int) -> int:
        nonlocal taken
        taken += len(data)
        if taken > 600_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(descriptor, data, place)

    monkeypatch.setattr("tuneward.data.spool.os.pwrite", full)
    with pytest.raises(StorageError, match="free some space") as caught:
        prepare(workspace)
    assert [fault.code for fault in caught.value.faults] == ["TW-STOR-007"]
    with workspace.site.database.read() as c:
        assert find(c, RecordEntry) == []
    assert list((workspace.site.folder / "runs").iterdir()) == []
    monkeypatch.undo()
    assert content(workspace, prepare(workspace, progress=heard)) == undisturbed
    assert any("had been inspected before" in line for line in heard.said)


def test_another_policy_or_more_rows_inspect_only_what_is_new(copied: Callable[[str], Path]) -> None:
    folder = copied("changed")
    workspace = open_workspace(folder, actor="ada")
    prepare(workspace)
    with (folder / "train.jsonl").open("a", encoding="utf-8") as handle:
        handle.write(json.dumps({"customer": "new", "prompt": "one more red", "answer": ANSWER}) + "\n")
    heard = Heard()
    prepare(workspace, progress=heard)
    assert f"{ROWS + 6:,} rows had been inspected before" in heard.said
