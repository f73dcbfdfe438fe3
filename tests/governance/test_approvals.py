from dataclasses import replace

import pytest
from sqlalchemy import text

from tests.storage import nouns
from tuneward.digests import digest_value
from tuneward.domain.approval import Approval
from tuneward.errors import GovernanceError
from tuneward.governance import approvals, audit
from tuneward.governance.change import change
from tuneward.governance.policies import label, load_policy
from tuneward.governance.row_check import check_rows
from tuneward.storage import repository

SCOPE = {"purpose": "triage", "base": "b" * 64, "training": {"epochs": 1}}
DIGEST = digest_value(SCOPE)


@pytest.fixture(autouse=True)
def _dataset(solo):
    with change(solo, "dataset.prepare", "dat_1") as made:
        made.put(nouns.BASE)
        made.put(nouns.DATASET)


def ask(office, scope=SCOPE, **changes):
    named = {"project": "claims", "dataset": "dat_1", "justification": "needed", "risk_class": "minimal"} | changes
    return approvals.request(office, scope=scope, **named)


def test_solo_may_grant_to_oneself_and_the_record_says_so(solo):
    asked = ask(solo)
    assert (asked.status, asked.scope_digest, asked.requested_by) == ("requested", DIGEST, "ann")
    assert approvals.covering(solo, DIGEST) is None
    assert approvals.waiting(solo, DIGEST) == asked
    granted = approvals.grant(solo, asked.id, "fine")
    assert (granted.status, granted.decided_by, granted.self_granted) == ("granted", "ann", True)
    assert (granted.reason, granted.policy) == ("fine", label(solo.policy))
    assert approvals.covering(solo, DIGEST) == granted
    assert approvals.covering(solo, digest_value({**SCOPE, "base": "c"})) is None
    assert approvals.waiting(solo, DIGEST) is None
    with solo.site.database.read() as c:
        assert repository.get(c, Approval, asked.id) == granted
        last = list(audit.events(c))[-1]
    assert (last.action, last.detail["self_granted"]) == ("approval.grant", True)
    assert check_rows(solo.site) == ()


def test_in_a_team_another_person_decides(team):
    asked = ask(team["eve"])
    granted = approvals.grant(team["abe"], asked.id, "checked the card")
    assert (granted.decided_by, granted.self_granted) == ("abe", False)
    assert approvals.covering(team["eve"], DIGEST) == granted


def test_an_owner_of_a_team_cannot_grant_the_own_request(team):
    asked = ask(team["ann"])
    with pytest.raises(GovernanceError, match="TW-GOV-006"):
        approvals.grant(team["ann"], asked.id, "me")
    assert approvals.waiting(team["ann"], DIGEST) == asked
    with team["ann"].site.database.read() as c:
        last = list(audit.events(c))[-1]
    assert (last.action, last.subject, last.decision) == ("approval.grant", asked.id, "refused")
    assert last.detail == {"faults": ["TW-GOV-006"]}
    approvals.refuse(team["ann"], asked.id, "withdrawn")


def test_what_solo_granted_to_itself_covers_nothing_under_a_stricter_policy(solo, team):
    approvals.grant(solo, ask(solo).id, "fine")
    assert approvals.covering(solo, DIGEST)
    assert approvals.covering(team["eve"], DIGEST) is None
    assert approvals.covering(replace(solo, policy=load_policy("regulated")), DIGEST) is None


def test_a_decision_is_final(team):
    asked = ask(team["eve"])
    approvals.refuse(team["abe"], asked.id, "no legal basis")
    for decide in (approvals.grant, approvals.refuse):
        with pytest.raises(GovernanceError, match=r"TW-GOV-005.*refused by abe"):
            decide(team["abe"], asked.id, "again")
    assert approvals.covering(team["eve"], DIGEST) is None


def test_the_last_decision_about_a_scope_counts(team):
    approvals.refuse(team["abe"], ask(team["eve"]).id, "not yet")
    approvals.grant(team["abe"], ask(team["eve"]).id, "now")
    assert approvals.covering(team["eve"], DIGEST) is not None


def test_a_request_is_complete_or_refused_with_all_faults(solo):
    with pytest.raises(GovernanceError) as caught:
        ask(solo, justification="  ", risk_class="none")
    assert [fault.place for fault in caught.value.faults] == ["justification", "risk_class"]
    asked = ask(solo)
    with pytest.raises(GovernanceError, match="there is no reason"):
        approvals.grant(solo, asked.id, " ")


def test_the_same_scope_is_not_asked_for_twice(solo):
    asked = ask(solo)
    with pytest.raises(GovernanceError, match=f"TW-GOV-008.*{asked.id}"):
        ask(solo)
    approvals.grant(solo, asked.id, "fine")
    with pytest.raises(GovernanceError, match=f"TW-GOV-008.*{asked.id}"):
        ask(solo)
    ask(solo, scope={**SCOPE, "purpose": "other"})


def test_an_unknown_id_lists_near_ones(solo):
    with pytest.raises(GovernanceError, match="make a request first"):
        approvals.grant(solo, "apr_1", "x")
    asked = ask(solo)
    for wrong in (asked.id[:-1] + "z", "apr"):
        with pytest.raises(GovernanceError) as caught:
            approvals.grant(solo, wrong, "x")
        (fault,) = caught.value.faults
        assert (fault.code, fault.cure) == ("TW-GOV-004", f"there are: {asked.id}")


def test_a_scope_changed_behind_our_back_is_neither_granted_nor_covering(solo):
    asked = ask(solo)
    tampered = text("UPDATE approval SET scope = '{}'")
    with solo.site.database.write() as c:
        c.execute(tampered)
    with pytest.raises(GovernanceError, match="TW-PROOF-008"):
        approvals.grant(solo, asked.id, "fine")
    other = ask(solo, scope={"x": 1})
    approvals.grant(solo, other.id, "fine")
    with solo.site.database.write() as c:
        c.execute(tampered)
    assert approvals.covering(solo, other.scope_digest) is None
