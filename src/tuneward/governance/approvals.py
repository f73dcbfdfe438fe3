"""Approvals: a use case asks, another person answers.

Place on the road: between ``prepare`` and ``train``. A request freezes its scope (purpose, base, dataset fingerprint,
settings, risk class); a run is covered only when the digest of its own scope is the one that was granted. Knows no
training.
"""

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from tuneward.digests import digest_value
from tuneward.domain.approval import Approval
from tuneward.errors import Fault, GovernanceError
from tuneward.governance.change import change
from tuneward.governance.office import Office
from tuneward.governance.policies import label
from tuneward.ids import is_id, new_id
from tuneward.storage import repository
from tuneward.storage.database import now

#: As the requester sees the use case; the EU AI Act's classes without the prohibited one.
RISK_CLASSES: tuple[str, ...] = ("minimal", "limited", "high")


def request(
    office: Office, *, project: str, dataset: str, scope: Mapping[str, Any], justification: str, risk_class: str
) -> Approval:
    """Ask for permission.

    Args:
        office: who asks.
        project: the project's name.
        dataset: the dataset's id.
        scope: all that the permission would cover, as JSON values.
        justification: why; the requester's words.
        risk_class: one of :data:`RISK_CLASSES`.

    Raises:
        GovernanceError: when the request is incomplete (all faults at once), or the same scope waits or is granted.
    """
    approval = Approval(
        id=new_id("apr"),
        project=project,
        dataset=dataset,
        scope=dict(scope),
        scope_digest=digest_value(scope),
        justification=justification.strip(),
        risk_class=risk_class,
        requested_by=office.actor,
        requested_at=now(),
    )
    with change(office, "approval.request", approval.id) as made:
        faults = []
        if not approval.justification:
            faults.append(Fault("TW-GOV-007", "there is no justification", "justification", "say why it is needed"))
        if risk_class not in RISK_CLASSES:
            cure = f"choose among {', '.join(RISK_CLASSES)}"
            faults.append(Fault("TW-GOV-007", f"`{risk_class}` is no risk class", "risk_class", cure))
        waiting = _waiting(made.connection, approval.scope_digest)
        granted = _granted(made.connection, office, approval.scope_digest)
        if waiting:
            faults.append(
                Fault("TW-GOV-008", "the same scope waits for its answer", waiting.id, "grant or refuse that")
            )
        if granted:
            faults.append(Fault("TW-GOV-008", "the same scope is granted", granted.id, "go on with `tuneward train`"))
        if faults:
            raise GovernanceError(faults)
        made.put(approval)
        made.note(project=project, dataset=dataset, scope_digest=approval.scope_digest, risk_class=risk_class)
    return approval


def grant(office: Office, approval_id: str, reason: str) -> Approval:
    """Say yes. Where requester and actor are one person, the policy must allow it and the record says so.

    Raises:
        GovernanceError: when the request is unknown or decided, no reason is given, or the policy wants another person.
    """
    return _decide(office, approval_id, reason, granted=True)


def refuse(office: Office, approval_id: str, reason: str) -> Approval:
    """Say no; requesters may so withdraw their own request if they have the role.

    Raises:
        GovernanceError: when the request is unknown or decided, or no reason is given.
    """
    return _decide(office, approval_id, reason, granted=False)


def named(office: Office, approval_id: str) -> Approval:
    """The request of this id.

    Raises:
        GovernanceError: when there is none.
    """
    with office.site.database.read() as connection:
        approval = repository.get(connection, Approval, approval_id)
        if approval is None:
            raise GovernanceError(_unknown(connection, approval_id))
    return approval


def covering(office: Office, scope_digest: str) -> Approval | None:
    """The approval that covers this scope under the policy in force; the last decision counts.

    A request that its own requester granted covers nothing where the policy wants two persons.
    """
    with office.site.database.read() as connection:
        return _granted(connection, office, scope_digest)


def waiting(office: Office, scope_digest: str) -> Approval | None:
    """The undecided request for this scope, if any."""
    with office.site.database.read() as connection:
        return _waiting(connection, scope_digest)


def _decide(office: Office, approval_id: str, reason: str, *, granted: bool) -> Approval:
    subject = approval_id if is_id(approval_id, "apr") else "approval"  # the log takes no text of any kind
    with change(office, "approval.grant" if granted else "approval.refuse", subject) as made:
        approval = repository.get(made.connection, Approval, approval_id)
        if approval is None:
            raise GovernanceError(_unknown(made.connection, approval_id))
        own = approval.requested_by == office.actor
        faults = []
        if approval.status != "requested":
            message = f"{approval.status} by {approval.decided_by} at {approval.decided_at}"
            faults.append(Fault("TW-GOV-005", message, approval_id, "make a new request"))
        if granted and own and not office.policy.self_approval:
            message = f"`{office.actor}` asked for it, and policy {office.policy.name} wants two persons"
            faults.append(Fault("TW-GOV-006", message, approval_id, "let another approver decide"))
        if not reason.strip():
            faults.append(Fault("TW-GOV-007", "there is no reason", approval_id, "say why, in a sentence"))
        if digest_value(approval.scope) != approval.scope_digest:
            message = "its scope is not the one that was asked for"
            faults.append(Fault("TW-PROOF-008", message, approval_id, "make a new request"))
        if faults:
            raise GovernanceError(faults)
        decided = replace(
            approval,
            status="granted" if granted else "refused",
            decided_by=office.actor,
            decided_at=now(),
            reason=reason.strip(),
            self_granted=granted and own,
            policy=label(office.policy),
        )
        made.put(decided)
        made.note(project=approval.project, scope_digest=approval.scope_digest, self_granted=decided.self_granted)
    return decided


def _waiting(connection: Connection, scope_digest: str) -> Approval | None:
    return repository.latest(connection, Approval, scope_digest=scope_digest, status="requested")


def _granted(connection: Connection, office: Office, scope_digest: str) -> Approval | None:
    decided = [
        approval
        for approval in repository.find(connection, Approval, scope_digest=scope_digest, order="decided_at")
        if approval.status != "requested"
    ]
    if not decided or decided[-1].status != "granted" or digest_value(decided[-1].scope) != scope_digest:
        return None
    allowed = office.policy.self_approval or decided[-1].requested_by != decided[-1].decided_by
    return decided[-1] if allowed else None


def _unknown(connection: Connection, approval_id: str) -> Fault:
    known = [approval.id for approval in repository.find(connection, Approval, order="-requested_at")]
    near = difflib.get_close_matches(approval_id, known, n=3, cutoff=0.8) or known[:3]
    cure = f"there are: {', '.join(near)}" if near else "make a request first"
    return Fault("TW-GOV-004", "there is no such request", approval_id, cure)
