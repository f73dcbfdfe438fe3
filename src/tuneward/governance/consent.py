"""Consent: withdrawals, and the marks on everything that stands downstream of one.

Place on the road: ``workflows/consent`` records withdrawals; ``prepare`` reads them before it reads rows; every step
that hands a model on asks :func:`heed`. Marks are stored and stay: a model that learned from a row has learned from it.
Knows keyed pseudonyms, no references and no names (GDPR Art. 7(3), 17(1)(b)).
"""

from collections.abc import Callable

from sqlalchemy import Connection, func, or_, select

from tuneward.amounts import counted
from tuneward.domain.law import Affected, Withdrawal
from tuneward.domain.version import Deployment
from tuneward.errors import Fault, GovernanceError
from tuneward.governance.change import Change, change
from tuneward.governance.office import Office
from tuneward.storage import repository
from tuneward.storage.database import now
from tuneward.storage.lineage import Ref, walk
from tuneward.storage.tables import record, terms

#: What is marked; requests and approvals say what was asked, and stay as they are.
MARKED: tuple[str, ...] = ("dataset", "run", "adapter", "evaluation", "version", "deployment", "export")
_CURE = "prepare and train again without these rows; `tuneward consent list` names what is affected"


def withdrawals(connection: Connection) -> list[Withdrawal]:
    """All that were recorded, oldest first."""
    return repository.find(connection, Withdrawal)


def reached(connection: Connection, pseudonym: str, *, dataset: str | None = None) -> dict[str, int]:
    """Dataset → how many of its rows a withdrawal reaches.

    A reference reaches the rows that name it; a subject those of its rows that rest on consent, or on nothing that is
    known (:attr:`domain.law.Terms.rests_on_consent`).

    Args:
        connection: an open connection.
        pseudonym: ``con_…`` or ``sub_…``.
        dataset: only this one.
    """
    joined = record.outerjoin(terms, (terms.c.dataset == record.c.dataset) & (terms.c.id == record.c.terms))
    if pseudonym.startswith("con_"):
        wanted = terms.c.consent == pseudonym
    else:
        wanted = (record.c.subject == pseudonym) & or_(terms.c.id.is_(None), terms.c.rests_on_consent.is_(True))
    query = (
        select(record.c.dataset, func.count())
        .select_from(joined)
        .where(wanted, repository.there(record.c.dataset))
        .group_by(record.c.dataset)
    )
    if dataset is not None:
        query = query.where(record.c.dataset == dataset)
    return {name: int(rows) for name, rows in sorted(tuple(row) for row in connection.execute(query))}


def mark(made: Change, withdrawal: Withdrawal, *, dataset: str | None = None) -> list[Affected]:
    """Mark every dataset that a withdrawal reaches, and all that was made from it; returns the new marks.

    Doing it again marks what has come since, and nothing twice.

    Args:
        made: the open change.
        withdrawal: recorded before, or in the same change.
        dataset: only this one and what was made from it.
    """
    connection = made.connection
    rows: dict[Ref, int] = {}
    for name, number in reached(connection, withdrawal.id, dataset=dataset).items():
        for ref in (Ref("dataset", name), *walk(connection, "dataset", name, towards="children")):
            if ref.kind in MARKED:
                rows[ref] = rows.get(ref, 0) + number
    known = {found.id for found in repository.find(connection, Affected, withdrawal=withdrawal.id)}
    marks = [
        Affected(
            id=f"{withdrawal.id}>{ref.kind}:{ref.id}",
            withdrawal=withdrawal.id,
            kind=ref.kind,
            noun=ref.id,
            rows=number,
            marked_at=now(),
        )
        for ref, number in sorted(rows.items())
    ]
    new = [found for found in marks if found.id not in known]
    for found in new:
        made.put(found)
    return new


def standing(connection: Connection, kind: str, noun: str) -> list[Affected]:
    """The marks on a noun, or on what it was made from where it came after the withdrawal; one for each withdrawal."""
    found: dict[str, Affected] = {}
    for ref in (Ref(kind, noun), *walk(connection, kind, noun, towards="parents")):
        if ref.kind in MARKED:
            for marked in repository.find(connection, Affected, kind=ref.kind, noun=ref.id):
                found.setdefault(marked.withdrawal, marked)
    return [found[name] for name in sorted(found)]


def said(marks: list[Affected]) -> str:
    """Marks in words, without any name."""
    rows = sum(marked.rows for marked in marks)
    many = counted(len(marks), "consent behind it was", "consents behind it were")
    return f"{many} withdrawn ({counted(rows, 'row')} of its data)"


def heed(office: Office, kind: str, noun: str, *, action: str, what: str, say: Callable[[str], None]) -> list[Affected]:
    """Say loudly that something stands downstream of a withdrawn consent, or refuse, as the policy has it.

    Args:
        office: where, and under which policy.
        kind: of the noun.
        noun: its id.
        action: what is about to be done; a refusal is logged as one of it.
        what: what it is to a reader, such as ``version 2``.
        say: takes the warning.

    Raises:
        GovernanceError: the policy refuses.
    """
    with office.site.database.read() as connection:
        marks = standing(connection, kind, noun)
    if not marks:
        return []
    told, cure = f"{what} is affected: {said(marks)}", _CURE
    if office.policy.affected == "refuse":
        with change(office, action, noun):
            raise GovernanceError(Fault("TW-GOV-018", told, noun, cure))
    say(f"WARNING: {told}; {cure}")
    return marks


def unservable(office: Office, deployment: Deployment) -> list[Fault]:
    """What forbids serving a deployment: withdrawn consents behind it or behind what it was made from.

    Walks the lineage. Empty where the policy only warns.
    """
    if office.policy.affected != "refuse":
        return []
    with office.site.database.read() as connection:
        marks = standing(connection, "deployment", deployment.id)
    return [_withdrawn_behind(marks)] if marks else []


def bar(office: Office, deployment: Deployment) -> Fault | None:
    """What forbids new answers of a deployment that is served: a consent withdrawn since it was let in.

    One query for the mark that a withdrawal puts on every deployment there is (:func:`mark`); cheap enough for every
    answer. None where the policy only warns.
    """
    if office.policy.affected != "refuse":
        return None
    with office.site.database.read() as connection:
        marks = repository.find(connection, Affected, kind="deployment", noun=deployment.id)
    return _withdrawn_behind(marks) if marks else None


def _withdrawn_behind(marks: list[Affected]) -> Fault:
    return Fault("TW-SERV-055", f"it is affected: {said(marks)}", cure=_CURE)
