"""`serving.guard` in a project's settings: a real gateway refuses, the log counts, and nothing has to be made again."""

import pytest

from tests.journey.conftest import ACTOR
from tuneward.domain.record import Message
from tuneward.errors import ConfigError, ServingError
from tuneward.governance.audit import events
from tuneward.workflows.chat import conversation
from tuneward.workflows.status import status
from tuneward.workflows.verify import verify
from tuneward.workflows.workspace import open_workspace

pytestmark = pytest.mark.journey

GUARD = "serving:\n  guard:\n    prompts: {email: redact, 'term:customers': block}\n    answers: {'*': tag}\n"


def settings(copy, guard: str) -> None:
    path = copy.folder / "tuneward.yaml"
    text = path.read_text(encoding="utf-8").replace("serving: {port: 0, max_rows: 8}\n", guard)
    path.write_text(text + "inspection: {terms: {customers: customers.txt}}\n", encoding="utf-8")
    (copy.folder / "customers.txt").write_text("Moneypenny Brothers\n", encoding="utf-8")


def test_prompts_are_looked_at_with_the_projects_own_terms_and_answers_verify(copied) -> None:
    copy = copied()
    settings(copy, GUARD)
    workspace = open_workspace(copy.folder, actor=ACTOR)
    with conversation(workspace) as line:
        answer = line.ask((Message("user", "test red eve@example.org"),))
        with pytest.raises(ServingError, match=r"term:customers"):
            line.ask((Message("user", "what of Moneypenny Brothers?"),))
    with workspace.site.database.read() as c:
        (given, refused) = list(events(c, action="answer.start"))[-2:]
    assert given.detail["guard"] == {"redact": {"email": 1}}
    assert (refused.decision, refused.detail["guard"]) == ("refused", {"block": {"term:customers": 1}})
    assert verify(workspace.office, answer.id).verified
    assert b"Moneypenny" not in (copy.folder / ".tuneward" / "site.db").read_bytes()


def test_a_guard_makes_nothing_stale(copied) -> None:
    copy = copied()
    path = copy.folder / "tuneward.yaml"
    before = [state.state for state in status(open_workspace(copy.folder, actor=ACTOR)).steps]
    guard = "serving: {port: 0, max_rows: 8, guard: {answers: {email: redact}}}\n"
    path.write_text(path.read_text(encoding="utf-8").replace("serving: {port: 0, max_rows: 8}\n", guard))
    assert [state.state for state in status(open_workspace(copy.folder, actor=ACTOR)).steps] == before


def test_a_misspelt_kind_is_told_before_anything_starts(copied) -> None:
    copy = copied()
    settings(copy, GUARD.replace("email", "emial"))
    with pytest.raises(ConfigError, match="no such kind of finding: emial"):
        open_workspace(copy.folder, actor=ACTOR)
