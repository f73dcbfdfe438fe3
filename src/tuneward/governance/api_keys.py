"""API keys: who may call the gateway.

Place on the road: ``serve`` makes one, the gateway looks up every caller's. Only a keyed digest is kept; the key itself
is shown once. Knows no HTTP.
"""

import difflib
import hmac
import secrets
from dataclasses import replace

from tuneward.digests import keyed_digest
from tuneward.domain.policy import Member
from tuneward.domain.version import ApiKey
from tuneward.errors import Fault, GovernanceError
from tuneward.governance.change import change
from tuneward.governance.keys import Keys
from tuneward.governance.office import Office
from tuneward.ids import KEY_FORM, is_id, new_id
from tuneward.storage import repository
from tuneward.storage.database import now
from tuneward.storage.site import Site

_LONGEST_NAME = 100
#: Begins the names of keys that live no longer than the process that made them; nobody else may use it.
PASSING = "passing: "


def create(office: Office, name: str, member: str, *, passing: bool = False) -> tuple[str, ApiKey]:
    """Make a key that acts on behalf of a member; its text is returned here and nowhere else.

    Args:
        office: where and as whom.
        name: whom or what it is for.
        member: on whose behalf it acts.
        passing: whether it ends with the process that makes it; :func:`revoke_passing` ends those that did not.

    Raises:
        GovernanceError: when there is no such member or the name is empty.
    """
    text = f"tuneward-{secrets.token_urlsafe(32)}"
    key = ApiKey(
        id=new_id("key"),
        name=f"{PASSING}{name}" if passing else name.strip(),
        member=member,
        key_hash=_hash(office.keys, text),
        created_at=now(),
        revoked_at=None,
    )
    with change(office, "key.create", key.id) as made:
        faults = []
        if not key.name:
            faults.append(Fault("TW-GOV-014", "the key has no name", "name", "say whom or what it is for"))
        if KEY_FORM.search(key.name):
            cure = "say whom or what it is for; the key itself stands nowhere"
            faults.append(Fault("TW-GOV-014", "the name holds a key", "name", cure))
        if key.name.startswith(PASSING) and not passing:
            cure = "choose another name"
            faults.append(Fault("TW-GOV-014", f"`{PASSING.strip()}` marks keys that end by themselves", "name", cure))
        if len(key.name) > _LONGEST_NAME or not key.name.isprintable():
            cure = f"at most {_LONGEST_NAME} printable characters"
            faults.append(Fault("TW-GOV-014", "the name is too long or holds control characters", "name", cure))
        if repository.get(made.connection, Member, member) is None:
            faults.append(Fault("TW-GOV-001", f"`{member}` is no member of this site", member, "an owner adds members"))
        if faults:
            raise GovernanceError(faults)
        made.put(key)
        made.note(member=member)
    return text, key


def find(site: Site, keys: Keys, text: str) -> ApiKey | None:
    """The key that this text opens, or None when there is none or it is revoked.

    Looks up a keyed digest, so that the time taken says nothing about how much of a guess was right.
    """
    if not KEY_FORM.fullmatch(text):
        return None
    wanted = _hash(keys, text)
    with site.database.read() as connection:
        key = repository.latest(connection, ApiKey, key_hash=wanted)
    if key is None or not hmac.compare_digest(key.key_hash, wanted) or key.revoked_at is not None:
        return None
    return key


def revoke(office: Office, key_id: str) -> ApiKey:
    """End a key, at once and for good.

    Raises:
        GovernanceError: when there is no such key or it is revoked already.
    """
    form = is_id(key_id, "key")
    subject = key_id if form else "key"  # anything else may be the key itself, which stands nowhere
    with change(office, "key.revoke", subject) as made:
        key = repository.get(made.connection, ApiKey, key_id)
        if key is None:
            known = [k.id for k in repository.find(made.connection, ApiKey, order="-created_at") if not k.revoked_at]
            near = difflib.get_close_matches(key_id, known, n=3, cutoff=0.8) or known[:3]
            cure = f"there are: {', '.join(near)}" if near else "there is no key to revoke"
            message = "there is no such key" if form else "is no key's id (key_…); give the id, not the key itself"
            raise GovernanceError(Fault("TW-GOV-014", message, subject, cure))
        if key.revoked_at is not None:
            raise GovernanceError(Fault("TW-GOV-014", f"is revoked since {key.revoked_at}", key_id, "nothing is to do"))
        revoked = replace(key, revoked_at=now())
        made.put(revoked)
    return revoked


def revoke_passing(office: Office) -> list[ApiKey]:
    """End the passing keys that a killed process left behind; hold the site's ``serve`` lock, so that none is in use.

    Raises:
        GovernanceError: there is one, and the actor may not revoke it.
    """
    with office.site.database.read() as connection:
        left = [k for k in repository.find(connection, ApiKey, revoked_at=None) if k.name.startswith(PASSING)]
    return [revoke(office, key.id) for key in left]


def _hash(keys: Keys, text: str) -> str:
    return keyed_digest(keys.secret("api-keys"), text.encode())
