"""pull into a site: a hub's branch is recorded as the commit that it was, and noticed when it moves."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.modeling.hub_stand_in import COMMIT, MODEL, HubStandIn
from tests.tiny import make_tiny_base
from tuneward.domain.audit import AuditEvent
from tuneward.domain.dataset import Dataset
from tuneward.errors import ModelError
from tuneward.governance.change import change
from tuneward.governance.office import Office
from tuneward.governance.row_check import check_rows
from tuneward.progress import Silent
from tuneward.storage.database import now
from tuneward.storage.repository import latest
from tuneward.workflows.init import init
from tuneward.workflows.licence import licence_in_force
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


def test_a_licence_asked_for_later_holds_while_nothing_was_made_under_the_first(origin: Path, office: Office) -> None:
    first = pull(office, str(origin))
    assert first.base.licence == "Apache-2.0"
    again = pull(office, str(origin), licence="MIT")
    assert (again.reused, again.base.licence, again.base.id) == (True, "MIT", first.base.id)
    assert pull(office, str(origin)).base.licence == "MIT"
    assert check_rows(office.site) == ()


@pytest.mark.parametrize("changed", [False, True])
def test_a_licence_under_which_something_was_made_stays_and_the_other_one_is_decided(
    origin: Path, office: Office, tmp_path: Path, changed: bool
) -> None:
    folder = shutil.copytree(origin, tmp_path / "base")
    first = pull(office, str(folder)).base
    with change(office, "dataset.prepare", "dat_1") as c:
        c.put(Dataset("dat_1", "p", "f", "t", "i", first.id, 1, 1, {}, now()))
    if changed:  # fetched anew, with the same bytes in the end
        store = office.site.artifacts
        store.path(store.manifest(first.id)["config.json"]["digest"]).unlink()
    again = pull(office, str(folder), licence="MIT")
    assert (again.base.id, again.base.licence) == (first.id, "Apache-2.0")
    assert again.reused is not changed
    with office.site.database.read() as c:
        assert licence_in_force(c, again.base) == "MIT"
    with pytest.raises(ModelError, match="TW-BASE-041"):
        pull(office, str(folder), licence="CC-BY-NC-4.0")
    with office.site.database.read() as c:
        assert licence_in_force(c, again.base) == "MIT", "a licence that does not allow the use is not decided on"
    assert check_rows(office.site) == ()


def test_an_unknown_licence_is_refused_for_a_base_that_is_there_too(origin: Path, office: Office) -> None:
    pull(office, str(origin))
    with pytest.raises(ModelError, match="TW-BASE-040"):
        pull(office, str(origin), licence="made-up-1.0")
