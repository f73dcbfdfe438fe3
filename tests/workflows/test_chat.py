"""chat: finds the site's running gateway, and ends the keys that a killed process left behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.serving.served_site import FAKE_ENGINE, ServedSite
from tuneward.domain.record import Message
from tuneward.domain.version import ApiKey
from tuneward.errors import GovernanceError, ServingError
from tuneward.governance import api_keys
from tuneward.serving.config import ServingConfig
from tuneward.storage.repository import find
from tuneward.storage.site import Site
from tuneward.workflows.chat import KEY_VARIABLE, conversation, passing_gateway
from tuneward.workflows.gateway import gateway, running_url
from tuneward.workflows.project import load_project
from tuneward.workflows.serve import serve
from tuneward.workflows.workspace import Workspace

PROJECT = """\
project: claims
purpose: Be asked by a test.
base: nowhere
data: {train: [t.jsonl], test: [t.jsonl], legal_basis: contract}
evaluation: {task: {kind: text}, gate: {}}
serving: {port: 9}
"""
HELLO = (Message("user", "hello"),)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServedSite:
    made = ServedSite.make(tmp_path)
    made.deploy("claims")
    (tmp_path / "tuneward.yaml").write_text(PROJECT, encoding="utf-8")
    monkeypatch.setenv(KEY_VARIABLE, made.key)

    @contextmanager
    def unchecked(office: Any, config: Any, **_: Any) -> Iterator[Any]:
        with gateway(office, config, check=lambda *_: [], engine_command=FAKE_ENGINE) as running:
            yield running

    monkeypatch.setattr("tuneward.workflows.chat.gateway", unchecked)
    return made


def workspace(served: ServedSite) -> Workspace:
    """The project as another process opens it."""
    office = replace(served.office, site=Site.open(served.office.site.folder))
    return Workspace(folder=served.folder, project=load_project(served.folder), office=office)


def in_force(served: ServedSite) -> set[str]:
    with served.office.site.database.read() as c:
        return {key.id for key in find(c, ApiKey) if not key.revoked_at}


def test_it_finds_the_gateway_that_runs_at_another_port(served: ServedSite) -> None:
    here = workspace(served)
    assert running_url(here.site) is None
    with gateway(served.office, ServingConfig(port=0), check=lambda *_: [], engine_command=FAKE_ENGINE) as running:
        assert running.port != here.project.serving.port
        assert running_url(here.site) == running.url
        with conversation(here) as line:
            assert line.ask(HELLO).model == "claims"
    assert running_url(here.site) is None
    with pytest.raises(ServingError, match=r"TW-SERV-062.*127\.0\.0\.1:9"), conversation(here):
        pytest.fail("opened")


def test_an_address_that_is_named_is_asked(served: ServedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    here = workspace(served)
    with (
        gateway(served.office, ServingConfig(port=0), check=lambda *_: [], engine_command=FAKE_ENGINE) as running,
        conversation(here, url=f"{running.url}/v1/") as line,
    ):
        assert line.ask(HELLO).answer
        with pytest.raises(ServingError, match=r"TW-SERV-062.*:9"), conversation(here, url="http://127.0.0.1:9"):
            pytest.fail("opened")
    for none in ("claims", "http://[::1", "http://[x]:1", "http://127.0.0.1:99999"):
        with pytest.raises(ServingError, match="is no gateway's address"), conversation(here, url=none):
            pytest.fail("opened")
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(ServingError, match="TW-SERV-041"), conversation(here, url="http://127.0.0.1:9"):
        pytest.fail("opened")


def test_a_key_that_a_killed_chat_left_ends_with_the_next_start(served: ServedSite) -> None:
    _, left = api_keys.create(served.office, "tuneward chat", "ada", passing=True)
    with passing_gateway(workspace(served), purpose="tuneward chat") as (running, text):
        assert left.id not in in_force(served)
        assert served.key_id in in_force(served)
        assert api_keys.find(served.office.site, served.office.keys, text) is not None
        assert running.aliases == ("claims",)
    assert in_force(served) == {served.key_id}


def test_serve_ends_it_too(served: ServedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    _, left = api_keys.create(served.office, "tuneward chat", "ada", passing=True)
    monkeypatch.setattr("tuneward.workflows.serve.serve_until_stopped", lambda *_, **__: None)
    serve(workspace(served))
    assert in_force(served) == {served.key_id}
    assert left.id not in in_force(served)


def test_nobody_else_may_name_a_key_so(served: ServedSite) -> None:
    with pytest.raises(GovernanceError, match="TW-GOV-014"):
        api_keys.create(served.office, " passing: mine", "ada")
