"""Change: the one way to write governed state.

Place on the road: every step's last act, in ``workflows``. Rows and their audit event are committed in one transaction
or not at all; a refusal is an event too. Knows who may do what (``policies``), not why.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from tuneward.domain.audit import AuditEvent, Edge, LogCheckpoint
from tuneward.domain.policy import Member
from tuneward.domain.version import ApiKey
from tuneward.errors import Fault, GovernanceError, TunewardError
from tuneward.governance import audit
from tuneward.governance.entering import Entered, publish
from tuneward.governance.office import Office as Office
from tuneward.governance.policies import label, roles_for
from tuneward.storage import lineage, repository

_KEY = "key:"  # an actor that is a caller of the gateway


class Change:
    """What a body does inside :func:`change`.

    Attributes:
        connection: the open write transaction, for reading what the change depends on.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._writes: dict[tuple[str, str], str] = {}
        self._detail: dict[str, Any] = {}
        self._rows: list[dict[str, Any]] = []
        self._event: AuditEvent | None = None
        self._refusal: dict[str, Any] = {}

    def put(self, noun: Any) -> None:
        """Add the noun, or replace the one with its id; the event commits to its digest.

        Raises:
            StorageError: at once or at commit, when the row contradicts what is there.
        """
        assert not isinstance(noun, AuditEvent | LogCheckpoint), "the log writes itself"
        if repository.get(self.connection, type(noun), noun.id) is None:
            repository.insert(self.connection, noun)
        else:
            repository.update(self.connection, noun)
        self._writes[repository.kind_of(noun), noun.id] = repository.noun_digest(noun)

    def put_entered(self, entered: Entered) -> None:
        """Let a dataset whose rows are in be seen; the event commits to it, and to one digest over its rows of a kind.

        Raises:
            StorageError: it is not being entered.
        """
        publish(self.connection, entered)
        self.put(entered.dataset)
        self._rows.extend(entered.rows)

    def link(self, parent: object, child: object) -> None:
        """Record that ``child`` was made from ``parent`` (nouns or ``lineage.Ref``)."""
        edge = lineage.link(self.connection, parent, child)
        self._writes["edge", edge_name(edge)] = repository.noun_digest(edge)

    def note(self, **detail: Any) -> None:
        """Add ids, digests and counts to the event; never content."""
        self._detail.update(detail)

    def note_refusal(self, **detail: Any) -> None:
        """Add ids, digests and counts to the event that a refusal by the body leaves; never content."""
        self._refusal.update(detail)

    @property
    def event(self) -> AuditEvent:
        """The event that was committed; there is none before the change has ended."""
        assert self._event is not None, "the change has not ended"
        return self._event

    def _close(self, office: Office, action: str, subject: str) -> None:
        detail = self._detail | ({"rows": self._rows} if self._rows else {})
        self._event = audit.append(
            self.connection,
            actor=office.actor,
            action=action,
            subject=subject,
            decision="done",
            policy=label(office.policy),
            writes=[{"kind": kind, "id": name, "digest": digest} for (kind, name), digest in self._writes.items()],
            detail=detail,
        )


@contextmanager
def change(office: Office, action: str, subject: str) -> Iterator[Change]:
    """One transaction: the role is checked, the body writes rows, the event is appended.

    A missing role, or a :class:`TunewardError` of the body, takes all rows back and leaves an event with the decision
    ``refused`` and the codes of the faults. Any other exception takes all rows back and leaves nothing.

    Args:
        office: who acts, where, under which policy.
        action: see ``governance.actions``.
        subject: id of what the change is about.

    Raises:
        GovernanceError: when the actor may not do this.
        StorageError: when rows cannot be written.
    """
    made: Change | None = None
    try:
        with office.site.database.write() as connection:
            _check_role(connection, office, action)
            made = Change(connection)
            yield made
            made._close(office, action, subject)
    except TunewardError as error:
        if made is not None:
            made._event = None
        _log_refusal(office, action, subject, error, made._refusal if made else None)
        raise


def permit(office: Office, action: str) -> None:
    """Check the role alone, before work that would end in a change; only a refusal is logged, with the site as subject.

    Raises:
        GovernanceError: when the actor may not do this.
    """
    try:
        with office.site.database.read() as connection:
            _check_role(connection, office, action)
    except GovernanceError as error:
        _log_refusal(office, action, office.site.id, error)
        raise


def edge_name(edge: Edge) -> str:
    """How an event names an edge, which has no id of its own."""
    return f"{edge.parent_kind}:{edge.parent}>{edge.child_kind}:{edge.child}"


def _check_role(connection: Connection, office: Office, action: str) -> None:
    wanted = roles_for(office.policy, action)
    if wanted is None:
        raise GovernanceError(
            Fault(
                "TW-GOV-015",
                f"`{action}` stands nowhere in it",
                f"policy {label(office.policy)}",
                "name it under `may:`",
            )
        )
    held = _roles(connection, office.actor)
    if held is None and action == "site.create" and not repository.find(connection, Member):
        return  # whoever makes the site becomes its first member
    if held is None:
        raise GovernanceError(
            Fault("TW-GOV-001", f"`{office.actor}` is no member of this site", office.actor, "an owner adds members")
        )
    if not set(held) & set(wanted):
        raise GovernanceError(
            Fault(
                "TW-GOV-002",
                f"`{office.actor}` ({', '.join(held)}) may not do `{action}` under policy {office.policy.name}",
                office.actor,
                f"ask someone who is {' or '.join(wanted)}",
            )
        )


def _roles(connection: Connection, actor: str) -> tuple[str, ...] | None:
    if actor.startswith(_KEY):
        key = repository.get(connection, ApiKey, actor.removeprefix(_KEY))
        return ("caller",) if key is not None and key.revoked_at is None else None
    member = repository.get(connection, Member, actor)
    return None if member is None else member.roles


def _log_refusal(
    office: Office, action: str, subject: str, error: TunewardError, detail: Mapping[str, Any] | None = None
) -> None:
    try:
        with office.site.database.write() as connection:
            audit.append(
                connection,
                actor=office.actor,
                action=action,
                subject=subject,
                decision="refused",
                policy=label(office.policy),
                detail={"faults": [fault.code for fault in error.faults], **(detail or {})},
            )
    except TunewardError as second:  # a full disk takes no event either; the first error is the one to show
        error.add_note(f"the refusal could not be logged: {second}")
