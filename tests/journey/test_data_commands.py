"""`data show` and `data lengths` on prepared rows of every kind, for who may see them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journey.conftest import ACTOR
from tests.journey.tiny_project import SETTINGS, make_project
from tuneward.cli.data import MARKS, printable
from tuneward.cli.main import main
from tuneward.domain.dataset import Dataset
from tuneward.errors import ConfigError, DataError, GovernanceError
from tuneward.governance.audit import events
from tuneward.storage.repository import find
from tuneward.workflows.access import add_member
from tuneward.workflows.data import measure_rows, show_rows
from tuneward.workflows.init import init
from tuneward.workflows.prepare import prepare
from tuneward.workflows.pull import pull
from tuneward.workflows.workspace import Workspace, open_workspace

pytestmark = pytest.mark.journey

PAIRS: list[dict[str, object]] = [
    {"prompt": f"red {n}", "chosen": "fine words", "rejected": f"write to eve{n}@example.org", "margin": n}
    for n in range(8)
]


def project(folder: Path, *, settings: str = SETTINGS, rows: list[dict[str, object]] | None = None) -> Workspace:
    make_project(folder, train=8, test=2, settings=settings)
    if rows:
        (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    init(folder, actor=ACTOR)
    workspace = open_workspace(folder, actor=ACTOR)
    pull(workspace.office, "base", beside=folder)
    return workspace


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = project(tmp_path_factory.mktemp("data") / "project")
    prepare(workspace)
    return workspace


def test_rows_are_shown_as_they_are_learned(
    prepared: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEWARD_ACTOR", ACTOR)
    folder = str(prepared.folder)
    out = command(capsys, "data", "show", "--masks", "--rows", "2", "-p", folder)
    assert out.count(f'{MARKS[0]}{{"kind":"ok"}}<|im_end|>{MARKS[1]}') == 2
    assert "2 of 8 train rows" in out
    plain = command(capsys, "data", "show", "--split", "test", "-p", folder)
    assert 'assistant: {"kind":"ok"}' in plain
    assert MARKS[0] not in plain
    shown = json.loads(command(capsys, "data", "show", "--masks", "--rows", "1", "--json", "-p", folder))
    (row,) = shown["rows"]
    assert row["learned"] == sum(p["tokens"] for p in row["pieces"] if p["learned"]) > 0
    assert row["tokens"] == sum(p["tokens"] for p in row["pieces"])
    again = json.loads(command(capsys, "data", "show", "--id", row["id"], "--json", "-p", folder))
    assert again["rows"] == shown["rows"]


@pytest.mark.parametrize("no_colour", [False, True])
def test_colour_tells_where_there_is_one(prepared: Workspace, no_colour: bool) -> None:
    environment = {**os.environ, "TUNEWARD_ACTOR": ACTOR, "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    if no_colour:
        environment["NO_COLOR"] = "1"
    arguments = [sys.executable, "-m", "tuneward.cli.main", "data", "show", "--masks", "--rows", "1"]
    done = subprocess.run(arguments, cwd=prepared.folder, env=environment, capture_output=True, text=True, check=True)
    assert ("\x1b[32m" in done.stdout) is not no_colour
    assert (MARKS[0] in done.stdout) is no_colour


def test_lengths_are_counted(
    prepared: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEWARD_ACTOR", ACTOR)
    found = json.loads(command(capsys, "data", "lengths", "--json", "-p", str(prepared.folder)))
    with prepared.site.database.read() as c:
        (dataset,) = find(c, Dataset)
    assert found["train"]["tokens"] == dataset.counts["train"]["tokens"]
    assert found["train"]["learned"] == dataset.counts["train"]["answer_tokens"]
    assert found["train"]["cuts"] == [{"length": 512, "rows": 0, "tokens": 0}]
    out = command(capsys, "data", "lengths", "-p", str(prepared.folder))
    assert "8 rows" in out
    assert "█" in out


def test_only_who_may_see_rows_does_and_a_refusal_is_logged(tmp_path: Path) -> None:
    workspace = project(tmp_path / "project", settings=f"{SETTINGS}policy: team\n")
    for name, roles in {"eve": ("engineer",), "abe": ("approver",), "ole": ("operator",), "aud": ("auditor",)}.items():
        add_member(workspace.office, name, roles)
    folder = workspace.folder
    prepare(open_workspace(folder, actor="eve"))
    for name in ("eve", "abe"):
        assert len(show_rows(open_workspace(folder, actor=name)).rows) == 3
    for name in ("ole", "aud", "mallory"):
        desk = open_workspace(folder, actor=name)
        for look in (show_rows, measure_rows):
            with pytest.raises(GovernanceError):
                look(desk)
            with workspace.site.database.read() as c:
                last = list(events(c))[-1]
            assert (last.actor, last.action, last.decision) == (name, "dataset.show", "refused")


def test_without_a_dataset_or_row_the_cure_is_told(prepared: Workspace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tuneward prepare"):
        show_rows(project(tmp_path / "project"))
    with pytest.raises(ConfigError, match="has no row"):
        show_rows(prepared, record="rec_none")


def test_pairs_are_shown_with_both_answers_and_what_was_redacted_stays_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEWARD_ACTOR", ACTOR)
    settings = SETTINGS.replace("training:\n", "training:\n  method: dpo\n").replace("  subject: customer\n", "")
    workspace = project(tmp_path / "project", settings=settings, rows=PAIRS)
    dataset = prepare(workspace).dataset
    assert dataset.counts["form"] == "pair"
    out = command(capsys, "data", "show", "--masks", "-p", str(workspace.folder))
    assert f"chosen ▸ {MARKS[0]}fine words<|im_end|>{MARKS[1]}" in out
    assert f"rejected ▸ {MARKS[0]}write to [EMAIL]<|im_end|>{MARKS[1]}" in out
    assert "margin 0" in out
    plain = command(capsys, "data", "show", "-p", str(workspace.folder))
    assert plain.index("chosen: fine words") < plain.index("rejected: write to [EMAIL]")


def test_a_dataset_belongs_to_what_the_method_learns_from(tmp_path: Path) -> None:
    workspace = project(tmp_path / "project")
    prepare(workspace)
    settings = SETTINGS.replace("training:\n", "training:\n  method: dpo\n")
    (workspace.folder / "tuneward.yaml").write_text(settings, encoding="utf-8")
    with pytest.raises(DataError, match="TW-DATA-032"):
        prepare(open_workspace(workspace.folder, actor=ACTOR))


def test_documents_are_shown_as_passages(tmp_path: Path) -> None:
    settings = SETTINGS.replace("training:\n", "training:\n  method: pretrain\n").replace(
        "  train: [train.jsonl]", "  train: [docs]"
    )
    workspace = project(tmp_path / "project", settings=settings.replace("  subject: customer\n", ""))
    (workspace.folder / "docs").mkdir()
    text = "\n\n".join(f"Paragraph {number} of the book." for number in range(60))
    (workspace.folder / "docs" / "book.md").write_text(text, encoding="utf-8")
    prepare(workspace)
    shown = show_rows(workspace, rows=1000)
    assert len(shown.rows) == shown.of > 1
    assert "".join(row.messages[0].content for row in shown.rows) == text
    assert all(row.tokens == row.learned <= 512 for row in shown.rows)


def test_what_would_steer_a_terminal_is_printed_as_signs() -> None:
    assert printable("a\x1b[31mb\u202ec\n\td\x9b\r") == "a\\u001b[31mb\\u202ec\n\td\\u009b\\u000d"
