"""Documents become drafts; a person decides; only what was accepted can train, and the log says who decided."""

import io
import json
import os
import pty
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from tests.journey.conftest import ACTOR
from tests.journey.test_data_commands import command, project
from tests.journey.tiny_project import SETTINGS
from tuneward.data.drafts import accepted_text, draft_from, drafts_text, read_drafts
from tuneward.errors import ConfigError, DataError, GovernanceError, ModelError
from tuneward.governance.audit import events
from tuneward.workflows import draft as drafting
from tuneward.workflows.access import add_member
from tuneward.workflows.draft import draft, drafts_path
from tuneward.workflows.prepare import prepare
from tuneward.workflows.review import accepted_path, decide_draft, waiting_drafts
from tuneward.workflows.workspace import Workspace, open_workspace

pytestmark = pytest.mark.journey
BOOK = "\n\n".join(
    f"Rule {n}. A claim of kind {n} is settled within {n} days. " + "Fine print. " * 120 for n in range(3)
)


class Scribe:
    """Stands for the engine: answers with the form that it is told to."""

    def __init__(self, form: str = "Question: How long for {n}?\nAnswer: {n} days.", reason: str = "stop") -> None:
        self.form, self.reason, self.asked = form, reason, 0

    def answers(self, model, prompts, **_):
        begin, self.asked = self.asked, self.asked + len(prompts)
        said = [self.form.format(n=n) for n in range(begin, self.asked)]
        return [SimpleNamespace(text=text, finish_reason=self.reason) for text in said]


@pytest.fixture
def scribe(monkeypatch: pytest.MonkeyPatch) -> Scribe:
    made = Scribe()

    @contextmanager
    def engine(workspace: Workspace, foundation: object) -> Iterator[tuple[Scribe, None]]:
        yield made, None

    monkeypatch.setattr(drafting, "open_engine", engine)
    monkeypatch.setenv("TUNEWARD_ACTOR", ACTOR)
    return made


@pytest.fixture
def desk(tmp_path, scribe: Scribe) -> Workspace:
    workspace = project(tmp_path / "project")
    (workspace.folder / "docs").mkdir()
    (workspace.folder / "docs" / "rules.md").write_text(BOOK, encoding="utf-8")
    return workspace


def test_drafts_are_linked_to_their_passages_and_made_once(desk: Workspace, scribe: Scribe) -> None:
    first = draft(desk, ["docs"], model="base")
    assert (first.passages, first.drafted, first.unusable, first.waiting) == (3, 3, 0, 3)
    again = draft(desk, ["docs"], model="base")
    assert (again.known, again.drafted, again.waiting, scribe.asked) == (3, 0, 3, 3)
    drafts = read_drafts(drafts_path(desk))
    assert len({item.id for item in drafts}) == 3
    assert all(item.passage.text in BOOK and item.passage.path == "docs/rules.md" for item in drafts)
    assert drafts_text(drafts) == drafts_path(desk).read_bytes()
    assert stat.S_IMODE(drafts_path(desk).stat().st_mode) == 0o600
    assert not accepted_path(desk).exists()
    with desk.site.database.read() as c:
        (one, _) = events(c, action="draft.create")
    assert one.detail["drafted"] == 3
    assert "days" not in str(one)


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("I do not know.", "stop"),
        ("Question: x", "stop"),
        ("Question:\nAnswer: y", "stop"),
        ("Answer: y", "stop"),
        ("Question: x\nAnswer: y", "length"),
    ],
)
def test_answers_of_another_form_are_no_drafts_and_are_counted(
    desk: Workspace, scribe: Scribe, form: str, reason: str
) -> None:
    scribe.form, scribe.reason = form, reason
    found = draft(desk, ["docs"], model="base")
    assert (found.drafted, found.unusable, found.waiting) == (0, 3, 0)


def test_a_person_decides_with_keys_and_only_what_was_accepted_trains(
    desk: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command(capsys, "data", "draft", "docs", "--model", "base", "-p", str(desk.folder))
    waiting = json.loads(command(capsys, "data", "review", "--json", "-p", str(desk.folder)))["waiting"]
    assert len(waiting) == 3
    monkeypatch.setattr("sys.stdin", io.StringIO("x\nre\n\nSeven days, no more.\nas\n"))
    out = command(capsys, "data", "review", "-p", str(desk.folder))
    assert "1 accepted, 1 rejected, 1 skipped; 1 drafts wait" in out
    (row,) = [json.loads(line) for line in accepted_path(desk).read_text(encoding="utf-8").splitlines()]
    assert (row["prompt"], row["answer"], row["edited"]) == ("How long for 1?", "Seven days, no more.", True)
    assert (row["draft"], row["passage"]) == (waiting[1]["id"], f"docs/rules.md:{waiting[1]['passage']['line']}")
    with desk.site.database.read() as c:
        decided = [(e.actor, e.action, e.subject) for e in events(c) if e.action in ("draft.accept", "draft.reject")]
        logged = "\n".join(map(str, events(c)))
    assert decided == [(ACTOR, "draft.reject", waiting[0]["id"]), (ACTOR, "draft.accept", waiting[1]["id"])]
    assert "Seven days" not in logged
    settings = (desk.folder / "tuneward.yaml").read_text(encoding="utf-8")
    settings = settings.replace("[train.jsonl]", "[drafts-accepted.jsonl]").replace("  subject: customer\n", "")
    (desk.folder / "tuneward.yaml").write_text(settings, encoding="utf-8")
    assert prepare(open_workspace(desk.folder, actor=ACTOR)).dataset.train_rows == 1
    monkeypatch.setattr("sys.stdin", io.StringIO("q"))
    assert "1 drafts wait" in command(capsys, "data", "review", "-p", str(desk.folder))


def test_a_decision_is_taken_once_and_by_whoever_may(tmp_path, scribe: Scribe) -> None:
    workspace = project(tmp_path / "project", settings=f"{SETTINGS}policy: team\n")
    for name, roles in {"eve": ("engineer",), "abe": ("approver",)}.items():
        add_member(workspace.office, name, roles)
    (workspace.folder / "rules.txt").write_text("A claim is settled within seven days.", encoding="utf-8")
    settings = workspace.folder / "tuneward.yaml"
    settings.write_text(
        settings.read_text(encoding="utf-8").replace("policy: team", "policy: regulated"), encoding="utf-8"
    )
    eve, abe = (open_workspace(workspace.folder, actor=name) for name in ("eve", "abe"))
    with pytest.raises(GovernanceError):
        draft(abe, ["rules.txt"], model="base")
    draft(eve, ["rules.txt"], model="base")
    with pytest.raises(GovernanceError):
        waiting_drafts(eve)
    (item,) = waiting_drafts(abe)
    with pytest.raises(GovernanceError):
        decide_draft(eve, item.id, "accepted")
    assert accepted_text(read_drafts(drafts_path(eve))) == b""
    decide_draft(abe, item.id, "accepted")
    with pytest.raises(ConfigError, match="waits"):
        decide_draft(abe, item.id, "rejected")


def test_what_cannot_be_drafted_from(desk: Workspace) -> None:
    with pytest.raises(DataError, match="TW-DATA-049"):
        draft(desk, ["train.jsonl"], model="base")
    (desk.folder / "word.txt").write_text("x" * 5_000)
    with pytest.raises(DataError, match="TW-DATA-049"):
        draft(desk, ["word.txt"], model="base")
    with pytest.raises(ModelError, match="not in this site"):
        draft(desk, ["docs"], model="no-such-model")


def test_a_draft_is_read_from_two_lines(desk: Workspace) -> None:
    draft(desk, ["docs"], model="base")
    passage = read_drafts(drafts_path(desk))[0].passage
    found = draft_from(" Question: Who? \n\n Answer: Ann.\nAnd Ben. ", passage, "b")
    assert found is not None
    assert (found.question, found.answer) == ("Who?", "Ann.\nAnd Ben.")


def test_keys_of_a_terminal_count_at_once(desk: Workspace) -> None:
    draft(desk, ["docs"], model="base")
    leader, follower = pty.openpty()
    arguments = [sys.executable, "-m", "tuneward.cli.main", "data", "review"]
    environment = {**os.environ, "TUNEWARD_ACTOR": ACTOR, "TERM": "dumb"}
    process = subprocess.Popen(
        arguments, cwd=desk.folder, env=environment, stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        keys, said = iter("arq"), ""
        assert process.stdout
        for line in process.stdout:
            said += line.decode()
            if line.startswith(b"a accept"):
                os.write(leader, next(keys).encode())  # and no line end
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)
        os.close(follower)
    assert "1 accepted, 1 rejected, 0 skipped; 1 drafts wait" in said


def test_the_model_is_asked_in_the_engine_that_serves(tmp_path) -> None:
    workspace = project(tmp_path / "project")
    (workspace.folder / "rules.txt").write_text("A claim is settled within seven days.", encoding="utf-8")
    found = draft(workspace, ["rules.txt"], model="base", max_tokens=16)
    assert (found.passages, found.drafted + found.unusable) == (1, 1)  # a random model writes no question
