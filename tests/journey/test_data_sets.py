"""`data stats`, `findings`, `diff`, `export` and the filters of `data show`, for who may see rows or take them out."""

import json
import stat
from pathlib import Path

import pytest

from tests.journey.conftest import ACTOR
from tests.journey.test_data_commands import command, project
from tests.journey.tiny_project import SETTINGS
from tuneward.cli.main import main
from tuneward.digests import digest_file
from tuneward.errors import ConfigError, DataError, GovernanceError, StorageError
from tuneward.governance.audit import events
from tuneward.governance.row_check import check_rows
from tuneward.workflows.access import add_member
from tuneward.workflows.data import RowFilter, show_rows
from tuneward.workflows.data_diff import data_diff
from tuneward.workflows.data_export import data_export
from tuneward.workflows.data_findings import data_findings
from tuneward.workflows.data_stats import data_stats
from tuneward.workflows.prepare import prepare
from tuneward.workflows.workspace import Workspace, open_workspace

pytestmark = pytest.mark.journey


def rows_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()]


def rewrite(folder: Path, rows: list[dict[str, object]]) -> None:
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A project prepared twice: the second time with one row changed, one gone, and one with two addresses."""
    workspace = project(tmp_path_factory.mktemp("sets") / "project")
    first = rows_of(workspace.folder)
    prepare(workspace)
    column = next(name for name, value in first[0].items() if name != "customer" and "{" not in str(value))
    changed = [*first[:-1]]
    changed[2] = {**changed[2], column: "purple rain"}
    changed.append({**first[0], column: "write to eve@example.org or ann@example.org"})
    changed.append({**first[0], column: "fresh words"})
    rewrite(workspace.folder, changed)
    prepare(open_workspace(workspace.folder, actor=ACTOR))
    return open_workspace(workspace.folder, actor=ACTOR)


@pytest.fixture(autouse=True)
def _actor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEWARD_ACTOR", ACTOR)


def test_rows_are_counted(twice: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(command(capsys, "data", "stats", "--json", "-p", str(twice.folder)))
    assert found["train"]["statistics"]["rows"] == 9
    assert [(file["name"], file["rows"]) for file in found["files"]] == [("train.jsonl", 9), ("test.jsonl", 2)]
    assert found["files"][0]["sha256"] == digest_file(twice.folder / "train.jsonl")
    assert found["train"]["tokens"] > found["train"]["answer_tokens"] > 0
    out = command(capsys, "data", "stats", "-p", str(twice.folder))
    assert "9 rows (9 conversation)" in out
    assert "data subjects" in out


def test_findings_are_counted_and_named_without_their_text(
    twice: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(command(capsys, "data", "findings", "--json", "-p", str(twice.folder)))
    assert (found["of"], found["rows"]) == (2, 1)
    assert [(c["kind"], c["action"], c["findings"], c["rows"]) for c in found["counts"]] == [("email", "redact", 2, 1)]
    assert {place["source"] for place in found["places"]} == {"train.jsonl:8"}
    out = command(capsys, "data", "findings", "--kind", "email", "--limit", "1", "-p", str(twice.folder))
    assert "2 findings in 1 row of" in out
    assert "example.org" not in out
    for nothing in ({"kind": "iban"}, {"file": "test.jsonl"}, {"action": "drop"}):
        assert data_findings(twice, **nothing).of == 0  # type: ignore[arg-type]
    assert data_findings(twice, file="train.jsonl", action="redact", limit=1).places[0].kind == "email"


def test_two_datasets_are_compared(twice: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(command(capsys, "data", "diff", "--json", "-p", str(twice.folder)))
    rows = found["rows"]
    assert [rows[kind] for kind in ("same", "added", "removed", "changed", "moved")] == [8, 1, 0, 2, 0]
    assert {(row["kind"], row["source"]) for row in rows["rows"]} == {
        ("added", "train.jsonl:9"),
        ("changed", "train.jsonl:3"),
        ("changed", "train.jsonl:8"),
    }
    assert [change["name"] for change in found["settings"]] == ["files.train.jsonl.bytes", "files.train.jsonl.sha256"]
    assert {"name": "train.kept", "before": 8, "after": 9} in found["counts"]
    back = data_diff(twice, found["after"], found["before"])
    assert (back.rows.added, back.rows.removed, back.rows.changed) == (0, 1, 2)
    assert data_diff(twice, found["before"], found["before"]).identical
    out = command(capsys, "data", "diff", "-p", str(twice.folder))
    assert "1 added, 0 removed, 2 changed" in out
    with pytest.raises(ConfigError, match="has no dataset"):
        data_diff(twice, "dat_none")


def test_one_dataset_is_not_compared(tmp_path: Path) -> None:
    workspace = project(tmp_path / "project")
    prepare(workspace)
    with pytest.raises(DataError, match="TW-DATA-048"):
        data_diff(workspace)


def test_rows_are_filtered(twice: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    out = command(capsys, "data", "show", "--finding", "email", "-p", str(twice.folder))
    assert "1 of 1 such train row of" in out
    assert "[EMAIL]" in out
    assert show_rows(twice, rows=50, only=RowFilter(containing="PURPLE Rain")).of == 1
    assert show_rows(twice, only=RowFilter(containing="no such words")).rows == ()
    assert show_rows(twice, split="test", only=RowFilter(file="train.jsonl")).of == 0
    assert show_rows(twice, rows=50, only=RowFilter(file="train.jsonl", finding="email")).of == 1
    before = _logged(twice)
    main_ended(["data", "show", "--containing", "Geheimnis", "-p", str(twice.folder)])
    assert _logged(twice) == before


def main_ended(arguments: list[str]) -> object:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def _logged(workspace: Workspace) -> str:
    with workspace.site.database.read() as c:
        return "\n".join(map(str, events(c)))


@pytest.mark.parametrize("format", ["jsonl", "parquet", "csv"])
def test_rows_leave_in_a_file_and_the_log_says_so(
    twice: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str], format: str
) -> None:
    target = tmp_path / f"rows.{format}"
    found = json.loads(command(capsys, "data", "export", str(target), "--json", "-p", str(twice.folder)))
    assert (found["rows"], found["format"], found["sha256"]) == (11, format, digest_file(target))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    with twice.site.database.read() as c:
        event = list(events(c, action="dataset.export"))[-1]
    assert (event.decision, event.subject, event.actor) == ("done", found["dataset"], ACTOR)
    assert event.detail == {"format": format, "row_count": 11, "splits": ["train", "test"], "sha256": found["sha256"]}
    assert check_rows(twice.site) == (), "an export is no tampering"
    assert "next:" not in command(capsys, "data", "export", str(target), "--force", "-p", str(twice.folder))


def test_a_target_that_is_taken_inside_the_site_or_of_no_format_is_refused(twice: Workspace, tmp_path: Path) -> None:
    before = _logged(twice)
    taken = tmp_path / "rows.jsonl"
    taken.write_text("mine")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "nowhere")
    (tmp_path / "inside.jsonl").symlink_to(twice.site.folder / "x.jsonl")
    for target in (taken, tmp_path / "link.jsonl", twice.site.folder / "rows.jsonl", tmp_path / "inside.jsonl"):
        with pytest.raises(DataError, match="TW-DATA-047"):
            data_export(twice, target)
    with pytest.raises(DataError, match="is a folder"):
        data_export(twice, tmp_path, format="csv", force=True)
    with pytest.raises(DataError, match="inside the site"):
        data_export(twice, tmp_path / "inside.jsonl", force=True)
    with pytest.raises(ConfigError, match="names no format"):
        data_export(twice, tmp_path / "rows.xlsx")
    with pytest.raises(StorageError):
        data_export(twice, tmp_path / "no" / "such" / "rows.csv")
    assert taken.read_text() == "mine"
    assert _logged(twice) == before
    assert data_export(twice, taken, split="test", force=True).rows == 2


def test_only_who_may_sees_counts_and_takes_rows_out(tmp_path: Path) -> None:
    workspace = project(tmp_path / "project", settings=f"{SETTINGS}policy: team\n")
    for name, roles in {"eve": ("engineer",), "abe": ("approver",), "aud": ("auditor",)}.items():
        add_member(workspace.office, name, roles)
    prepare(open_workspace(workspace.folder, actor="eve"))
    assert data_export(open_workspace(workspace.folder, actor="eve"), tmp_path / "rows.csv").rows == 10
    assert data_stats(open_workspace(workspace.folder, actor="abe")).train.statistics.rows == 8
    with pytest.raises(GovernanceError):
        data_export(open_workspace(workspace.folder, actor="abe"), tmp_path / "more.csv")
    assert not (tmp_path / "more.csv").exists()
    for look in (data_stats, data_findings, data_diff):
        with pytest.raises(GovernanceError):
            look(open_workspace(workspace.folder, actor="aud"))
    with workspace.site.database.read() as c:
        refused = [(e.actor, e.action) for e in events(c) if e.decision == "refused"]
    assert refused == [("abe", "dataset.export"), *[("aud", "dataset.show")] * 3]
