"""Several people under `team` and `regulated`: who may ask, grant and act; and what exactly a grant covers."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.journey.conftest import ACTOR
from tests.journey.tiny_project import SETTINGS, make_project
from tuneward.cli.main import main
from tuneward.errors import GovernanceError
from tuneward.governance.audit import events, uncovered
from tuneward.workflows.access import add_member
from tuneward.workflows.approve import grant, refuse, request
from tuneward.workflows.deploy import deploy
from tuneward.workflows.init import init
from tuneward.workflows.licence import decide
from tuneward.workflows.prepare import prepare
from tuneward.workflows.pull import pull
from tuneward.workflows.run import run
from tuneward.workflows.status import status
from tuneward.workflows.train import train
from tuneward.workflows.verify import verify
from tuneward.workflows.workspace import Workspace, open_workspace

pytestmark = pytest.mark.journey

MEMBERS = {
    "eve": ("engineer",),
    "abe": ("approver",),
    "ole": ("operator",),
    "aud": ("auditor",),
    "bob": ("engineer", "approver"),
}
QUICK = SETTINGS.replace("epochs: 6", "epochs: 2").replace("gate: {task.valid: {min: 0.5}}", "gate: {}")

Desks = Callable[[str], Workspace]


@pytest.fixture(params=["team", "regulated"])
def desks(request: pytest.FixtureRequest, tmp_path: Path) -> Desks:
    """A prepared project under the policy; a workspace of it for each member, as the settings are now."""
    settings = f"{QUICK}policy: {request.param}\n"
    if request.param == "regulated":
        terms = "  licence: LicenseRef-own\n  terms: {purpose: to handle claims, retention: 2999-12-31}\n"
        settings = settings.replace("  legal_basis: contract\n", f"  legal_basis: contract\n{terms}")
    folder = make_project(tmp_path / "project", settings=settings)
    init(folder, actor=ACTOR)
    for name, roles in MEMBERS.items():
        add_member(open_workspace(folder, actor=ACTOR).office, name, roles)

    def desk(name: str) -> Workspace:
        return open_workspace(folder, actor=name)

    pull(desk("eve").office, "base", beside=folder)
    if request.param == "regulated":
        decide(desk("abe").office, "base", "Apache-2.0", use="internal", reason="read it", beside=folder)
    prepare(desk("eve"))
    return desk


def state(workspace: Workspace, step: str) -> str:
    return next(seen.state for seen in status(workspace).steps if seen.step == step)


def codes(error: pytest.ExceptionInfo[GovernanceError]) -> list[str]:
    return [fault.code for fault in error.value.faults]


def refusals(workspace: Workspace) -> list[tuple[str, str, str]]:
    with workspace.site.database.read() as c:
        return [(e.actor, e.action, e.detail["faults"][0]) for e in events(c, decision="refused")]


def test_each_role_does_its_own_step_and_no_other(desks: Desks) -> None:
    regulated = desks("ada").office.policy.name == "regulated"
    tries: list[tuple[str, str, Callable[[Workspace], object]]] = [
        ("abe", "dataset.prepare", prepare),
        ("ole", "run.start", train),
        ("aud", "approval.request", lambda desk: request(desk, "please")),
        ("eve", "deployment.activate", deploy),
        ("stranger", "run.start", train),
    ]
    if regulated:
        tries.append(("ada", "dataset.prepare", prepare))
    for name, _, act in tries:
        with pytest.raises(GovernanceError) as caught:
            act(desks(name))
        assert codes(caught) == ["TW-GOV-001" if name == "stranger" else "TW-GOV-002"]
        assert name in caught.value.faults[0].message
    assert [(name, action) for name, action, _ in refusals(desks("eve"))] == [(n, a) for n, a, _ in tries]


def test_another_person_of_the_right_role_decides_and_no_one_else(desks: Desks) -> None:
    asked = request(desks("bob"), "please").approval
    assert state(desks("bob"), "approve") == "waiting"
    assert asked.id in status(desks("bob")).next
    for name, code in (("bob", "TW-GOV-006"), ("eve", "TW-GOV-002"), ("ole", "TW-GOV-002"), ("nobody", "TW-GOV-001")):
        with pytest.raises(GovernanceError) as caught:
            grant(desks(name).office, asked.id, "looks good to me")
        assert codes(caught) == [code]
        assert refusals(desks("bob"))[-1] == (name, "approval.grant", code)
    assert state(desks("bob"), "approve") == "waiting"
    given = grant(desks("abe").office, asked.id, "looks good to me").approval
    assert uncovered(desks("ada").site) == 0
    assert (given.status, given.decided_by, given.self_granted) == ("granted", "abe", False)
    assert state(desks("eve"), "approve") == "done"
    with pytest.raises(GovernanceError, match="TW-GOV-005"):
        refuse(desks("abe").office, asked.id, "on second thoughts")
    with pytest.raises(GovernanceError, match="TW-GOV-004"):
        grant(desks("abe").office, "apr_unknown", "whatever")


def test_a_withdrawn_request_covers_nothing_and_the_last_decision_counts(desks: Desks) -> None:
    first = request(desks("bob"), "please").approval
    assert request(desks("eve"), "me too").approval.id == first.id, "one request for one scope"
    refuse(desks("bob").office, first.id, "withdrawn by myself")
    assert state(desks("eve"), "approve") == "stale"
    with pytest.raises(GovernanceError, match="TW-GOV-090"):
        train(desks("eve"))
    with pytest.raises(GovernanceError, match="TW-GOV-005"):
        grant(desks("abe").office, first.id, "too late")
    second = request(desks("eve"), "again").approval
    assert second.id != first.id
    grant(desks("abe").office, second.id, "now it is fine")
    assert state(desks("eve"), "approve") == "done"


def test_an_own_grant_of_a_milder_policy_covers_nothing_here(desks: Desks) -> None:
    bob = desks("bob")
    strict = bob.office.policy
    asked = request(bob, "please").approval
    grant(replace(bob.office, policy=replace(strict, self_approval=True)), asked.id, "it is mine")
    assert state(bob, "approve") == "stale"
    with pytest.raises(GovernanceError, match="TW-GOV-090"):
        train(bob)


def test_a_grant_covers_exactly_what_was_asked(desks: Desks) -> None:
    folder = desks("eve").folder
    path, base = folder / "tuneward.yaml", folder / "base" / "README.md"
    rows = folder / "train.jsonl"
    grant(desks("abe").office, request(desks("eve"), "please").approval.id, "fine")
    assert state(desks("eve"), "approve") == "done"

    def covered() -> bool:
        desk = desks("eve")
        pull(desk.office, "base", beside=folder)
        if desk.office.policy.base_licence == "decided":
            decide(desks("abe").office, "base", "Apache-2.0", use="internal", reason="read it", beside=folder)
        prepare(desk)
        return state(desk, "approve") == "done"

    changes = [
        (path, "another end", "in a test", "another end"),
        (path, "use", "use: internal", "use: hosted"),
        (path, "legal basis", "legal_basis: contract", "legal_basis: public_task"),
        (path, "training", "rank: 8", "rank: 4"),
        (path, "gate", "gate: {}", "gate: {task.valid: {min: 0.1}}"),
        (path, "risk class", "use: internal", "use: internal\nrisk_class: minimal"),
        (rows, "rows", "train red", "train scarlet"),
        (base, "base", "A tiny", "A small"),
    ]
    for file, what, old, new in changes:
        before = file.read_text(encoding="utf-8")
        assert old in before, what
        file.write_text(before.replace(old, new), encoding="utf-8")
        assert not covered(), what
        with pytest.raises(GovernanceError, match="TW-GOV-090"):
            train(desks("eve"))
        file.write_text(before, encoding="utf-8")
    assert covered(), "all put back as it was asked"
    path.write_text(path.read_text(encoding="utf-8").replace("{port: 0", "{alias: other, port: 0"), encoding="utf-8")
    assert covered(), "where it is served moves nothing that was judged"


def test_the_commands_show_who_asked_what_and_who_decided(desks: Desks, monkeypatch, capsys) -> None:
    def tuneward(actor: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setenv("TUNEWARD_ACTOR", actor)
        with pytest.raises(SystemExit) as ended:
            main(["approve", *arguments, "--project", str(desks("eve").folder)])
        return (int(ended.value.code or 0), *capsys.readouterr())

    assert tuneward("eve", "list")[1].startswith("no requests yet")
    code, asked, _ = tuneward("eve", "request", "--why", "We [need] it: soon", "--json")
    number = json.loads(asked)["approval"]["id"]
    assert code == 0
    code, shown, _ = tuneward("aud", "show", number)
    assert code == 0
    assert f"{number}: requested" in shown
    assert "asked by eve" in shown
    assert "We [need] it: soon" in shown
    assert "legal basis contract" in shown
    assert "lora of rank 8 by sft, 2 epochs" in shown
    assert f"next: tuneward approve grant {number}" in shown
    code, _, told = tuneward("eve", "refuse", number, "--reason", "mine")
    assert code == GovernanceError.exit_code
    assert "TW-GOV-002" in told
    assert "approver" in told
    code, refused, _ = tuneward("abe", "refuse", number, "--reason", "not this year")
    assert code == 0
    assert f"{number}: refused" in refused
    assert "decided by abe: not this year" in refused
    code, again, _ = tuneward("eve", "show", number)
    assert "next: tuneward approve request" in again
    tuneward("eve", "request", "--why", "once more")
    listed = json.loads(tuneward("aud", "list", "--json")[1])["approvals"]
    assert [(a["status"], a["requested_by"], a["decided_by"]) for a in listed] == [
        ("requested", "eve", None),
        ("refused", "eve", "abe"),
    ]
    rows = [line for line in tuneward("aud", "list")[1].splitlines() if "apr_" in line]
    assert ["requested" in rows[0], "refused" in rows[1]] == [True, True]
    assert tuneward("eve", "show", "apr_none")[0] == GovernanceError.exit_code


@pytest.mark.parametrize("desks", ["regulated"], indirect=True)
def test_a_regulated_road_is_walked_by_three_people(desks: Desks) -> None:
    with pytest.raises(GovernanceError) as caught:
        run(desks("eve"))
    assert codes(caught) == ["TW-GOV-090"]
    waiting = caught.value.faults[0].place
    grant(desks("abe").office, waiting, "proportionate")
    with pytest.raises(GovernanceError) as caught:
        run(desks("eve"))
    assert codes(caught) == ["TW-GOV-002"]
    assert "operator" in caught.value.faults[0].cure
    assert status(desks("ole")).next == "tuneward deploy"
    assert not deploy(desks("ole")).reused
    chain = verify(desks("aud").office)
    assert [fault for link in chain.links for fault in link.faults] == []
