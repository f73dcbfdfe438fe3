from dataclasses import replace

import pytest

from tuneward.errors import GovernanceError
from tuneward.governance import api_keys, approvals
from tuneward.governance.keys import Keys


def test_the_text_opens_the_key_and_is_kept_nowhere(solo):
    text, key = api_keys.create(solo, " notebook ", "ann")
    assert key.name == "notebook"
    assert api_keys.find(solo.site, solo.keys, text) == key
    solo.site.database.close()
    kept = b"".join(path.read_bytes() for path in solo.site.folder.rglob("*") if path.is_file())
    assert text.encode() not in kept
    assert text.removeprefix("tuneward-").encode() not in kept
    assert key.key_hash.encode() in kept


def test_anything_else_opens_nothing(solo, tmp_path):
    text, _ = api_keys.create(solo, "notebook", "ann")
    for wrong in ("", text[:-1], text + "x", text.upper(), text[:-1] + ("A" if text[-1] != "A" else "B"), "tuneward-é"):
        assert api_keys.find(solo.site, solo.keys, wrong) is None
    other = Keys.create(tmp_path / "other")
    assert api_keys.find(solo.site, other, text) is None


def test_a_revoked_key_opens_nothing(solo):
    text, key = api_keys.create(solo, "notebook", "ann")
    api_keys.revoke(solo, key.id)
    assert api_keys.find(solo.site, solo.keys, text) is None
    with pytest.raises(GovernanceError, match="is revoked since"):
        api_keys.revoke(solo, key.id)


def test_an_unknown_key_lists_those_in_force(solo):
    with pytest.raises(GovernanceError, match="there is no key to revoke"):
        api_keys.revoke(solo, "key_x")
    _, key = api_keys.create(solo, "notebook", "ann")
    with pytest.raises(GovernanceError, match=f"there are: {key.id}"):
        api_keys.revoke(solo, "key_x")


def test_a_key_pasted_in_place_of_its_id_is_not_kept(solo):
    text, key = api_keys.create(solo, "notebook", "ann")
    with pytest.raises(GovernanceError, match="not the key itself") as caught:
        api_keys.revoke(solo, text)
    assert text not in str(caught.value)
    with pytest.raises(GovernanceError):
        approvals.grant(solo, text, "why not")
    solo.site.database.close()
    kept = b"".join(path.read_bytes() for path in solo.site.folder.rglob("*") if path.is_file())
    assert text.encode() not in kept
    assert api_keys.revoke(solo, key.id).revoked_at


def test_faults_at_once_and_roles(solo, team):
    with pytest.raises(GovernanceError) as caught:
        api_keys.create(solo, " ", "nobody")
    assert [fault.code for fault in caught.value.faults] == ["TW-GOV-014", "TW-GOV-001"]
    with pytest.raises(GovernanceError, match="TW-GOV-002"):
        api_keys.create(replace(team["eve"]), "x", "ann")
