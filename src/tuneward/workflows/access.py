"""Any time: who may act on the site (members) and who may call the gateway (keys)."""

from dataclasses import dataclass

from tuneward.domain.policy import Member
from tuneward.domain.version import ApiKey
from tuneward.governance import api_keys, members
from tuneward.governance.office import Office
from tuneward.storage.repository import find


@dataclass(frozen=True)
class KeyResult:
    """A new key.

    Attributes:
        key: what the site keeps (a keyed hash).
        text: the key itself; shown this once and kept nowhere.
        next: the command that comes next.
    """

    key: ApiKey
    text: str
    next: str = "tuneward serve"


@dataclass(frozen=True)
class KeyList:
    """All keys of the site."""

    keys: tuple[ApiKey, ...]
    next: str = "tuneward key create NAME"


@dataclass(frozen=True)
class MemberList:
    """All members of the site."""

    members: tuple[Member, ...]
    next: str = "tuneward member add NAME --role ROLE"


def create_key(office: Office, name: str) -> KeyResult:
    """Make a key to the gateway for ``name`` (a person, a program).

    Raises:
        GovernanceError: the actor may not.
    """
    text, key = api_keys.create(office, name=name, member=office.actor)
    return KeyResult(key=key, text=text)


def revoke_key(office: Office, key_id: str) -> KeyList:
    """Make a key worthless, at once.

    Raises:
        GovernanceError: the key is unknown, or the actor may not.
    """
    api_keys.revoke(office, key_id)
    return list_keys(office)


def list_keys(office: Office) -> KeyList:
    """All keys, revoked ones too; never the keys themselves."""
    with office.site.database.read() as c:
        return KeyList(tuple(find(c, ApiKey)))


def add_member(office: Office, name: str, roles: tuple[str, ...]) -> MemberList:
    """Let ``name`` act with exactly ``roles``.

    Raises:
        GovernanceError: the actor may not.
    """
    members.add(office, name, roles)
    return list_members(office)


def list_members(office: Office) -> MemberList:
    """Everybody who may act, with roles."""
    with office.site.database.read() as c:
        return MemberList(tuple(find(c, Member)))
