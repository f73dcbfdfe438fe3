"""A base's licence is decided once, with a reason; the decision holds for checks, approvals, papers and copies."""

import json
from pathlib import Path

import pytest

from tests.journey.conftest import ACTOR
from tuneward.domain.law import LicenceDecision
from tuneward.errors import GovernanceError, ModelError
from tuneward.storage.repository import find
from tuneward.workflows.licence import decide, list_licences
from tuneward.workflows.prepare import prepare
from tuneward.workflows.run import run
from tuneward.workflows.status import status
from tuneward.workflows.verify import verify
from tuneward.workflows.workspace import open_workspace


def test_it_travels_to_papers_and_asks_for_a_new_permission(copied):
    project = copied()
    workspace, office = project.workspace(), project.workspace().office
    first = project.result.of("register").version
    made = decide(office, "base", "MIT", use="internal", reason="read the card", beside=project.folder)
    assert (made.decision.licence, made.decision.stated, made.reused) == ("MIT", "Apache-2.0", False)
    assert made.decision.decided_by == ACTOR
    assert decide(office, "base", "mit", use="internal", reason="read the card", beside=project.folder).reused
    undone = {state.step for state in status(workspace).steps if state.state != "done"}
    assert undone == {"approve", "register", "deploy"}, "permitted anew; neither prepared nor trained anew"

    papers = Path(run(project.workspace()).of("register").papers)
    notice = (papers / "NOTICE").read_text(encoding="utf-8")
    assert "licence: MIT" in notice
    assert "read the card" in notice
    bom = json.loads((papers / "aibom.cdx.json").read_bytes())
    assert bom["metadata"]["component"]["licenses"] == [{"license": {"id": "MIT", "acknowledgement": "concluded"}}]
    assert any(entry["value"] == "read the card" for entry in bom["components"][0]["properties"])
    assert f'"{ACTOR}"' not in (papers / "aibom.cdx.json").read_text(encoding="utf-8"), "papers name no person"
    for version in (first.id, run(project.workspace()).of("register").version.id):
        assert [fault for link in verify(office, version).links for fault in link.faults] == []
    (papers / "NOTICE").chmod(0o644)
    (papers / "NOTICE").write_text(notice.replace("MIT", "BSD"), encoding="utf-8")
    newest = run_version(office)
    assert not verify(office, newest).verified, "a changed NOTICE is found"


def run_version(office) -> str:
    from tuneward.domain.version import ModelVersion

    with office.site.database.read() as c:
        return find(c, ModelVersion, order="-number")[0].id


def test_what_is_refused_leaves_no_decision(copied):
    project = copied()
    office = project.workspace().office
    for licence, reason, kind, code in (
        ("CC-BY-NC-4.0", "x", ModelError, "TW-BASE-041"),
        ("made-up", "x", ModelError, "TW-BASE-040"),
        ("MIT", "  ", GovernanceError, "TW-GOV-019"),
    ):
        with pytest.raises(kind, match=code):
            decide(office, "base", licence, use="internal", reason=reason, beside=project.folder)
    with pytest.raises(ModelError, match="TW-BASE-050"):
        decide(office, "nothing", "MIT", use="internal", reason="x", beside=project.folder)
    with office.site.database.read() as c:
        assert find(c, LicenceDecision) == []
    (base,) = list_licences(office).bases
    assert (base.stated, base.decision) == ("Apache-2.0", None)
    assert "weights" in base.allows


def test_a_policy_may_want_a_decision_first(copied):
    project = copied()
    settings = project.folder / "tuneward.yaml"
    own = Path(open_workspace.__code__.co_filename).parents[1] / "governance/policies/solo.yaml"
    text = own.read_text(encoding="utf-8").replace("name: solo", "name: asks") + "\nbase_licence: decided\n"
    (project.folder / "asks.yaml").write_text(text, encoding="utf-8")
    settings.write_text(settings.read_text(encoding="utf-8") + "policy: asks.yaml\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"TW-BASE-051(.|\n)*tuneward licence decide Apache-2.0"):
        prepare(project.workspace())
    decide(project.workspace().office, "base", "Apache-2.0", use="internal", reason="read it", beside=project.folder)
    prepare(project.workspace())


def test_a_stricter_decision_stops_the_use(copied):
    project = copied()
    office = project.workspace().office
    decide(office, "base", "CC-BY-NC-4.0", use="research", reason="read it again", beside=project.folder)
    with pytest.raises(ModelError, match="TW-BASE-041"):
        prepare(project.workspace())
