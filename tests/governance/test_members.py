from dataclasses import replace

import pytest

from tuneward.domain.policy import Member
from tuneward.domain.version import ApiKey
from tuneward.errors import GovernanceError
from tuneward.governance import api_keys, members
from tuneward.governance.audit import events
from tuneward.governance.change import permit
from tuneward.storage import repository
from tuneward.storage.site import Site


def test_whoever_makes_the_site_owns_it_and_only_once(solo):
    with pytest.raises(GovernanceError, match="TW-GOV-009"):
        members.found(solo)
    with pytest.raises(GovernanceError, match="TW-GOV-001"):
        members.found(replace(solo, actor="mallory"))
    with solo.site.database.read() as c:
        assert [(m.id, m.roles) for m in repository.find(c, Member)] == [("ann", ("owner",))]


@pytest.mark.parametrize("actor", ["key:ann", " ", "a\nb"])
def test_nobody_founds_a_site_under_a_name_that_cannot_act(tmp_path, solo, actor):
    site = Site.create(tmp_path / "other")
    with pytest.raises(GovernanceError, match="TW-GOV-009"):
        members.found(replace(solo, site=site, actor=actor))


def test_owners_add_members_and_change_their_roles(team):
    with pytest.raises(GovernanceError, match="TW-GOV-002"):
        members.add(team["eve"], "eve", ("owner",))
    first = members.add(team["ann"], "bob", ("approver", "engineer"))
    assert first.roles == ("engineer", "approver")
    second = members.add(team["ann"], "bob", ("operator",))
    assert (second.roles, second.created_at) == (("operator",), first.created_at)
    permit(replace(team["ann"], actor="bob"), "gateway.start")


def test_all_faults_at_once(solo):
    with pytest.raises(GovernanceError) as caught:
        members.add(solo, "key:1", ("caller", "boss"))
    assert len(caught.value.faults) == 3
    with pytest.raises(GovernanceError, match="no role is given"):
        members.add(solo, "bob", ())


def test_a_site_keeps_an_owner(solo):
    with pytest.raises(GovernanceError, match="no owner"):
        members.add(solo, "ann", ("engineer",))
    members.add(solo, "bob", ("owner",))
    assert members.add(solo, "ann", ("engineer",)).roles == ("engineer",)


def test_a_key_pasted_as_a_name_is_refused_and_kept_nowhere(solo):
    text, _ = api_keys.create(solo, "x", "ann")
    for refused in (lambda: members.add(solo, text, ("owner",)), lambda: api_keys.create(solo, f"for {text}", "ann")):
        with pytest.raises(GovernanceError) as caught:
            refused()
        assert text not in str(caught.value)
    with solo.site.database.read() as c:
        kept = [*events(c), *repository.find(c, Member), *repository.find(c, ApiKey)]
    assert text not in str(kept)
