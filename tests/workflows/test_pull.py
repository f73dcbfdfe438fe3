"""pull into a site: a hub's branch is recorded as the commit that it was, and noticed when it moves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.modeling.hub_stand_in import COMMIT, MODEL, HubStandIn
from tests.tiny import make_tiny_base
from tuneward.domain.audit import AuditEvent
from tuneward.governance.office import Office
from tuneward.progress import Silent
from tuneward.storage.repository import latest
from tuneward.workflows.init import init
from tuneward.workflows.pull import pull
from tuneward.workflows.workspace import open_office

LATER = "89abcdef" * 5


class Listener(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("origin") / "tiny"
    make_tiny_base(folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nA tiny random model.\n", encoding="utf-8")
    return folder


@pytest.fixture
def hub(origin: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStandIn]:
    with HubStandIn(origin).serve() as stand_in:
        monkeypatch.setenv("TUNEWARD_HUB_ENDPOINT", stand_in.url)
        yield stand_in


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.delenv("TUNEWARD_SITE", raising=False)
    init(tmp_path / "project", actor="ada")
    return open_office(tmp_path / "project", actor="ada")


def push(hub: HubStandIn) -> None:
    """Somebody changes the model's card on the branch."""
    hub.files["README.md"] += b"A second paragraph.\n"
    hub.commit = LATER


@pytest.mark.parametrize("reference", [MODEL, f"{MODEL}@main"])
def test_a_branch_that_moved_is_said_and_pulled_again(hub: HubStandIn, office: Office, reference: str) -> None:
    first, listener = pull(office, reference), Listener()
    assert first.base.source["revision"] == COMMIT
    assert pull(office, reference, progress=listener).reused
    assert listener.said == []
    push(hub)
    second = pull(office, reference, progress=listener)
    assert (second.reused, second.base.source["revision"]) == (False, LATER)
    assert second.base.id != first.base.id
    assert any(COMMIT[:12] in line and LATER[:12] in line for line in listener.said)
    with office.site.database.read() as c:
        event = latest(c, AuditEvent, action="base.pull")
    assert event is not None
    assert event.detail["revision"] == LATER
    assert pull(office, reference).base == second.base


def test_a_walk_that_is_under_way_keeps_its_base_and_says_so(hub: HubStandIn, office: Office) -> None:
    first, listener = pull(office, f"{MODEL}@main"), Listener()
    push(hub)
    again = pull(office, f"{MODEL}@main", follow=False, progress=listener)
    assert again.reused
    assert again.base == first.base
    (line,) = listener.said
    assert LATER[:12] in line
    assert "`tuneward pull`" in line


def test_a_commit_is_not_asked_for_again(hub: HubStandIn, office: Office) -> None:
    pull(office, f"{MODEL}@{COMMIT}")
    hub.status = 500
    listener = Listener()
    assert pull(office, f"{MODEL}@{COMMIT}", progress=listener).reused
    assert listener.said == []


def test_a_hub_that_cannot_be_asked_is_said_and_the_base_kept(hub: HubStandIn, office: Office) -> None:
    pull(office, f"{MODEL}@main")
    hub.status = 500
    listener = Listener()
    assert pull(office, f"{MODEL}@main", progress=listener).reused
    assert any(COMMIT[:12] in line and "not known" in line for line in listener.said)
