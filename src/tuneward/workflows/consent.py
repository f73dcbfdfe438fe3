"""Any time: a consent is withdrawn; all that was made from its rows is marked, and its rows do not pass any more."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tuneward.data.records import pseudonym
from tuneward.data.terms import consent_pseudonym
from tuneward.domain.law import Affected, Withdrawal
from tuneward.domain.version import Deployment
from tuneward.errors import Fault, GovernanceError
from tuneward.governance.audit import checkpoint
from tuneward.governance.change import change, permit
from tuneward.governance.consent import heed, mark, reached, withdrawals
from tuneward.governance.office import Office
from tuneward.storage.database import now
from tuneward.storage.repository import find, get

Named = Literal["reference", "subject"]
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Withdrawn:
    """A recorded withdrawal and what it reaches.

    Attributes:
        withdrawal: the record.
        named: whether a consent's reference or a data subject.
        marks: everything downstream that is marked, oldest mark first.
        new: how many of the marks are new.
    """

    withdrawal: Withdrawal
    named: Named
    marks: tuple[Affected, ...]
    new: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """Kind → how many of it are marked."""
        return dict(sorted(Counter(marked.kind for marked in self.marks).items()))


@dataclass(frozen=True)
class WithdrawResult:
    """What ``consent withdraw`` did.

    Attributes:
        withdrawn: one record, or two where the name could be a reference or a subject and nothing knows it yet.
        reused: True when it had been recorded before and nothing new is marked.
        next: the command that comes next.
    """

    withdrawn: tuple[Withdrawn, ...]
    reused: bool
    next: str = "tuneward prepare"


def withdraw(office: Office, name: str, *, named: Named | None = None, reason: str = "") -> WithdrawResult:
    """Record that a consent was withdrawn, and mark what stands downstream.

    It may be recorded before any row of it was read: its rows do not pass then. The name is turned into its keyed
    pseudonym at once; nothing keeps it. Said again, it marks what has come since.

    Args:
        office: where and as whom.
        name: a consent's reference or a data subject, as the files write it, or its pseudonym (``con_…``, ``sub_…``).
        named: which of the two; where left out, both are meant, unless the register knows it as both.
        reason: why, for the record; no names in it.

    Raises:
        GovernanceError: the name is empty, the register knows it as both, or the actor may not do this.
    """
    permit(office, "consent.withdraw")
    if not name.strip():
        raise GovernanceError(Fault("TW-GOV-017", "names no consent and no subject", "", "name one of them"))
    wanted = _pseudonyms(office, name.strip(), named)
    with office.site.database.read() as c:
        recorded = [one for one in wanted if get(c, Withdrawal, one)]
        known = [one for one in wanted if reached(c, one)]
    if len(known) > 1 and recorded != wanted:
        both = "the register knows it as a consent's reference and as a data subject"
        raise GovernanceError(Fault("TW-GOV-017", both, "", "say which: `--reference` or `--subject`"))
    chosen = wanted if recorded == wanted else known or wanted
    done = [_record(office, one, reason=reason.strip()) for one in chosen]
    changed = any(new for _, new in done)
    if changed:
        checkpoint(office)
    return WithdrawResult(tuple(withdrawn for withdrawn, _ in done), reused=not changed)


@dataclass(frozen=True)
class ConsentList:
    """Every recorded withdrawal, oldest first.

    Attributes:
        withdrawn: records and marks.
        next: the command that comes next.
    """

    withdrawn: tuple[Withdrawn, ...]
    next: str = "tuneward status"


def withdrawn(office: Office) -> ConsentList:
    """Every recorded withdrawal with its marks, oldest first."""
    with office.site.database.read() as c:
        made = [Withdrawn(one, _named(one.id), tuple(find(c, Affected, withdrawal=one.id))) for one in withdrawals(c)]
    return ConsentList(tuple(made))


def heed_deployed(office: Office, say: Callable[[str], None]) -> None:
    """Say of every active deployment that stands downstream of a withdrawn consent, or refuse, as the policy has it.

    Raises:
        GovernanceError: one is affected, and the policy refuses.
    """
    with office.site.database.read() as c:
        active = find(c, Deployment, status="active")
    for deployment in active:
        heed(
            office,
            "deployment",
            deployment.id,
            action="gateway.start",
            what=f"the deployment as {deployment.alias!r}",
            say=say,
        )


def _record(office: Office, pseudonym: str, *, reason: str) -> tuple[Withdrawn, bool]:
    """The record with its marks, and whether anything was written."""
    with office.site.database.read() as c:
        earlier = get(c, Withdrawal, pseudonym)
        marked = {one.noun for one in find(c, Affected, withdrawal=pseudonym, kind="dataset")}
        missing = reached(c, pseudonym).keys() - marked
    new: list[Affected] = []
    if earlier is None or missing:
        with change(office, "consent.withdraw", pseudonym) as c:
            withdrawal = earlier or Withdrawal(pseudonym, reason, office.actor, now())
            if earlier is None:
                c.put(withdrawal)
            new = mark(c, withdrawal)
            c.note(marked=dict(sorted(Counter(one.kind for one in new).items())))
    else:
        withdrawal = earlier
    with office.site.database.read() as connection:
        marks = tuple(find(connection, Affected, withdrawal=pseudonym))
    return Withdrawn(withdrawal, _named(pseudonym), marks, len(new)), earlier is None or bool(new)


def _pseudonyms(office: Office, name: str, named: Named | None) -> list[str]:
    prefix, _, rest = name.partition("_")
    if prefix in ("con", "sub") and len(rest) == 40 and set(rest) <= _HEX:
        return [name]
    key = office.keys.secret("subjects")
    both = {"reference": consent_pseudonym(name, key=key), "subject": pseudonym(name, key=key)}
    return [both[named]] if named else list(both.values())


def _named(pseudonym: str) -> Named:
    return "reference" if pseudonym.startswith("con_") else "subject"
