"""Members: the people and services that may act on a site.

Place on the road: ``init`` makes the first one, who owns the site; owners add others. Knows names and roles; who is
really behind a name is the operating system's business (embedded) or that of whatever signs people in.
"""

from tuneward.domain.policy import Member
from tuneward.errors import Fault, GovernanceError
from tuneward.governance.actions import MEMBER_ROLES
from tuneward.governance.change import change
from tuneward.governance.office import Office
from tuneward.ids import KEY_FORM
from tuneward.storage import repository
from tuneward.storage.database import now


def found(office: Office) -> Member:
    """Make the actor the site's first member, with the role of owner; once only.

    Raises:
        GovernanceError: when the site has members already, or the actor's name is none.
    """
    with change(office, "site.create", office.site.id) as made:
        if faults := _name_faults(office.actor):
            raise GovernanceError(faults)
        if repository.find(made.connection, Member):
            raise GovernanceError(
                Fault("TW-GOV-009", "the site has members already", office.site.id, "let an owner add the next one")
            )
        member = Member(id=office.actor, roles=("owner",), created_at=now())
        made.put(member)
    return member


def add(office: Office, member_id: str, roles: tuple[str, ...]) -> Member:
    """Add a member, or give a member other roles.

    Raises:
        GovernanceError: when the name or a role is none, or the site would be left without an owner; all at once.
    """
    if KEY_FORM.search(member_id):  # refused before anything is logged: the key stands nowhere
        cure = "give the user's name; revoke the key if anybody else saw it"
        raise GovernanceError(Fault("TW-GOV-009", "a key cannot be a member's name", "member", cure))
    with change(office, "member.add", member_id) as made:
        faults = [
            Fault("TW-GOV-009", f"`{role}` is no role", member_id, f"choose among {', '.join(MEMBER_ROLES)}")
            for role in roles
            if role not in MEMBER_ROLES
        ]
        if not roles:
            faults.append(Fault("TW-GOV-009", "no role is given", member_id, f"choose among {', '.join(MEMBER_ROLES)}"))
        faults += _name_faults(member_id)
        others = [m for m in repository.find(made.connection, Member) if m.id != member_id and "owner" in m.roles]
        if "owner" not in roles and not others:
            faults.append(
                Fault("TW-GOV-009", "the site would have no owner", member_id, "make another member owner first")
            )
        if faults:
            raise GovernanceError(faults)
        present = repository.get(made.connection, Member, member_id)
        ordered = tuple(role for role in MEMBER_ROLES if role in roles)
        member = Member(id=member_id, roles=ordered, created_at=present.created_at if present else now())
        made.put(member)
        made.note(roles=list(ordered))
    return member


def _name_faults(name: str) -> list[Fault]:
    """A colon is what tells a caller of the gateway (``key:…``) from a member."""
    if name.strip() and ":" not in name and name.isprintable():
        return []
    cure = "use printable letters without a colon (TUNEWARD_ACTOR says who acts)"
    return [Fault("TW-GOV-009", f"{name!r} cannot be a member's name", name, cure)]
