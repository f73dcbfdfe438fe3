"""Any time after ``pull``: under which licence a base is used, decided once by a member, with the reason.

The decision counts wherever the licence counts: for the declared use, in what approvers permit, in AIBOM and NOTICE. A
later decision replaces an earlier one for what comes then; papers that are signed keep the one they were made under.
"""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from tuneward.domain.base import Base
from tuneward.domain.law import LicenceDecision
from tuneward.errors import Fault, GovernanceError, ModelError
from tuneward.governance.audit import checkpoint
from tuneward.governance.change import change, permit
from tuneward.governance.office import Office
from tuneward.ids import new_id
from tuneward.licences import Use, check, duties, find
from tuneward.modeling.licences import licence_text_digest
from tuneward.storage import repository
from tuneward.storage.database import now
from tuneward.workflows.bases import base_named


@dataclass(frozen=True)
class DecideResult:
    """What ``licence decide`` did.

    Attributes:
        decision: the decision in force.
        base: the base's name.
        duties: what the licence asks under the declared use.
        reused: True when the same was decided before.
        next: the command that comes next.
    """

    decision: LicenceDecision
    base: str
    duties: tuple[str, ...]
    reused: bool
    next: str = "tuneward prepare"


@dataclass(frozen=True)
class BaseLicence:
    """A base and the licence under which it is used.

    Attributes:
        base: its name.
        id: its digest.
        stated: the licence in its files.
        decision: the decision in force, or None.
        allows: the uses.
    """

    base: str
    id: str
    stated: str
    decision: LicenceDecision | None
    allows: tuple[Use, ...]


@dataclass(frozen=True)
class LicenceList:
    """The bases of the site.

    Attributes:
        bases: oldest first.
        next: the command that comes next.
    """

    bases: tuple[BaseLicence, ...]
    next: str = "tuneward status"


def decision_of(connection: Connection, base: str) -> LicenceDecision | None:
    """The decision in force for the base with this id."""
    return repository.latest(connection, LicenceDecision, base=base)


def licence_in_force(connection: Connection, base: Base) -> str:
    """The licence under which a base is used: the decided one, else the one that its files state."""
    decision = decision_of(connection, base.id)
    return base.licence if decision is None else decision.licence


def decide(office: Office, reference: str, licence: str, *, use: Use, reason: str, beside: Path) -> DecideResult:
    """Decide under which licence a base is used.

    Args:
        office: where and as whom.
        reference: the base, as the project names it.
        licence: an SPDX expression of licences that the table knows, or one of its names.
        use: the declared use, which it must allow.
        reason: why: what was read, which contract, whose word.
        beside: folder from which a relative folder is meant.

    Raises:
        ModelError: the base is not in the site; the licence is unknown, or does not allow the use.
        GovernanceError: there is no reason, or the actor may not decide.
    """
    permit(office, "licence.decide")
    with office.site.database.read() as c:
        base = base_named(c, office.site, reference, beside)
    if base is None:
        raise ModelError(Fault("TW-BASE-050", f"the base {reference!r} is not in this site", "", "run `tuneward pull`"))
    return decide_on(office, base, licence, use=use, reason=reason)


def decide_on(office: Office, base: Base, licence: str, *, use: Use, reason: str) -> DecideResult:
    """As :func:`decide`, for a base at hand."""
    known = find(licence)
    wanted = known.name if known else " ".join(licence.split())
    with office.site.database.read() as c:
        earlier = decision_of(c, base.id)
    if earlier and (earlier.licence, earlier.use, earlier.reason) == (wanted, use, reason.strip()):
        return _result(earlier, base, use, reused=True)
    digest = licence_text_digest(office.site.artifacts.tree(base.id))
    texts = known.text_sha256 if known else ()
    decision = LicenceDecision(
        id=new_id("lic"),
        base=base.id,
        licence=wanted,
        stated=base.licence,
        text_digest=digest,
        text_known=digest in texts if digest and texts else None,
        use=use,
        reason=reason.strip(),
        decided_by=office.actor,
        decided_at=now(),
    )
    with change(office, "licence.decide", decision.id) as c:
        if not decision.reason:
            cure = "say what was read, and where"
            raise GovernanceError(Fault("TW-GOV-019", "there is no reason", "--reason", cure))
        if faults := check(wanted, use):
            raise ModelError(faults)
        c.put(decision)
        c.link(base, decision)
        c.note(base=base.id, licence=wanted, stated=base.licence, use=use, text=digest)
    checkpoint(office)
    return _result(decision, base, use, reused=False)


def list_licences(office: Office) -> LicenceList:
    """Every base of the site with the licence under which it is used."""
    with office.site.database.read() as c:
        bases = repository.find(c, Base)
        decisions = [decision_of(c, base.id) for base in bases]
    return LicenceList(
        tuple(
            BaseLicence(base.name, base.id, base.licence, decision, _allows(decision, base))
            for base, decision in zip(bases, decisions, strict=True)
        )
    )


def refuse_undecided(office: Office, base: Base) -> None:
    """Raise where the policy wants a member's decision on the base's licence, and there is none.

    Raises:
        ModelError: nobody has decided.
    """
    if office.policy.base_licence != "decided":
        return
    with office.site.database.read() as c:
        if decision_of(c, base.id) is not None:
            return
    message = (
        f"policy `{office.policy.name}` wants a decision on the licence of {base.name} (its files state {base.licence})"
    )
    cure = f'read its terms, then: tuneward licence decide {base.licence} --reason "…"'
    raise ModelError(Fault("TW-BASE-051", message, "base", cure))


def _allows(decision: LicenceDecision | None, base: Base) -> tuple[Use, ...]:
    licence = base.licence if decision is None else decision.licence
    uses: tuple[Use, ...] = ("research", "internal", "hosted", "weights")
    return tuple(use for use in uses if not check(licence, use))


def _result(decision: LicenceDecision, base: Base, use: Use, *, reused: bool) -> DecideResult:
    return DecideResult(decision, base.name, duties(decision.licence, use), reused=reused)
