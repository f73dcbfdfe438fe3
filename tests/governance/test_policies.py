from pathlib import Path
from typing import get_args

import pytest
import yaml

from tuneward.domain.finding import Action as FindingAction
from tuneward.errors import ConfigError, GovernanceError
from tuneward.governance import policies
from tuneward.governance.actions import MEMBER_ROLES, Action, Role
from tuneward.governance.policies import BUILT_IN, label, load_policy, roles_for

STRICTNESS = list(get_args(FindingAction))
KINDS = ("email", "phone", "iban", "card", "api_key", "anything else")
SAID = {kind for name in BUILT_IN for kind in load_policy(name).on_finding}


def on_finding(name: str, kind: str) -> int:
    rules = load_policy(name).on_finding
    return STRICTNESS.index(rules.get(kind, rules["*"]))


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_policies_say_something_about_every_action(name):
    policy = load_policy(name)
    assert policy.name == name
    for action in get_args(Action):
        assert roles_for(policy, action)
        assert set(roles_for(policy, action)) <= set(get_args(Role))
    assert policy.approval_required
    assert policy.self_approval is (name == "solo")


def test_each_policy_is_at_least_as_strict_as_the_one_before():
    for kind in SAID:
        assert on_finding("solo", kind) <= on_finding("team", kind) <= on_finding("regulated", kind)
    assert [load_policy(name).contamination for name in BUILT_IN] == ["drop", "drop", "block"]


def test_what_happens_to_findings():
    assert {STRICTNESS[on_finding("solo", kind)] for kind in KINDS} == {"redact"}
    assert STRICTNESS[on_finding("team", "api_key")] == "drop"
    assert STRICTNESS[on_finding("regulated", "api_key")] == "block"


def test_the_built_in_policies_name_the_same_kinds():
    assert all(set(load_policy(name).on_finding) == SAID for name in BUILT_IN)


def test_answers_keep_dates_and_places_and_words_of_illness():
    for name in BUILT_IN:
        assert STRICTNESS[on_finding(name, "date")] == "allow"
        assert STRICTNESS[on_finding(name, "special_health")] == "tag"


def test_under_regulated_nobody_has_both_sides_of_a_decision():
    policy = load_policy("regulated")
    for role in MEMBER_ROLES:
        held = {action for action in get_args(Action) if role in roles_for(policy, action)}
        assert not {"approval.request", "approval.grant"} <= held
        assert not {"run.start", "approval.grant"} <= held
        assert not {"version.register", "deployment.activate"} <= held


def test_auditors_change_nothing():
    for name in BUILT_IN:
        policy = load_policy(name)
        assert not any("auditor" in (roles_for(policy, action) or ()) for action in get_args(Action))


def own(tmp_path, **changes):
    rules = yaml.safe_load(Path(policies.__path__[0], "team.yaml").read_text())
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(rules | {"name": "own"} | changes))
    return path


def test_a_policy_file_of_the_site(tmp_path):
    policy = load_policy(own(tmp_path))
    assert label(policy).startswith("own@3+")
    assert load_policy(str(own(tmp_path))) == policy


def test_a_changed_rule_shows_in_the_version_even_if_its_number_stays(tmp_path):
    before = load_policy(own(tmp_path)).version
    assert load_policy(own(tmp_path, self_approval=True)).version != before


@pytest.mark.parametrize("name", BUILT_IN)
def test_no_file_goes_by_the_name_of_a_built_in_policy(tmp_path, name):
    with pytest.raises(ConfigError, match="built-in"):
        load_policy(own(tmp_path, name=name))


def test_all_faults_of_a_policy_file_at_once(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(
        "name: Own Policy\n"
        "version: 1\n"
        "self_aproval: false\n"
        "approval_required: perhaps\n"
        "contamination: ignore\n"
        "on_finding: {email: redcat}\n"
        "may:\n"
        "  run.strat: [engineer]\n"
        "  run.start: [enginer]\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_policy(path)
    found = {
        (fault.code, int(fault.place.rpartition(":")[2])): fault for fault in caught.value.faults if ":" in fault.place
    }
    assert sorted(found) == [
        ("TW-CONF-003", 3),
        ("TW-CONF-004", 1),
        ("TW-CONF-004", 2),
        ("TW-CONF-004", 4),
        ("TW-CONF-004", 5),
        ("TW-CONF-004", 6),
        ("TW-CONF-004", 8),
        ("TW-CONF-004", 9),
    ]
    assert found["TW-CONF-003", 3].cure == "did you mean `self_approval`?"
    assert found["TW-CONF-004", 6].cure == "did you mean `redact`?"
    assert found["TW-CONF-004", 8].cure == "did you mean `run.start`?"
    assert found["TW-CONF-004", 9].cure == "did you mean `engineer`?"
    assert "TW-CONF-005" in {fault.code for fault in caught.value.faults}


def test_the_rest_of_the_findings_must_be_ruled(tmp_path):
    with pytest.raises(ConfigError, match="all other kinds"):
        load_policy(own(tmp_path, on_finding={"email": "redact"}))


def test_a_policy_that_is_none(tmp_path):
    for name in ("sole", tmp_path / "none.yaml", tmp_path):
        with pytest.raises(GovernanceError, match=r"TW-GOV-003"):
            load_policy(name)
