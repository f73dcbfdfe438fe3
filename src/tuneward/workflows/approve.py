"""Step 3: ask for permission, grant it, refuse it. Without it a governed run does not start."""

from dataclasses import dataclass

from tuneward.domain.approval import Approval
from tuneward.errors import DataError, Fault
from tuneward.governance import approvals
from tuneward.governance.audit import checkpoint
from tuneward.governance.change import Office
from tuneward.storage.repository import find
from tuneward.workflows.prepare import ASK, require_base
from tuneward.workflows.road import approval_scope, survey
from tuneward.workflows.workspace import Workspace


@dataclass(frozen=True)
class ApprovalResult:
    """A request or decision.

    Attributes:
        approval: as it stands now.
        reused: True when the same request stood already.
        next: the command that comes next.
    """

    approval: Approval
    reused: bool
    next: str


@dataclass(frozen=True)
class ApprovalList:
    """All requests of a project, newest first."""

    approvals: tuple[Approval, ...]
    next: str = "tuneward approve show ID"


def request(workspace: Workspace, justification: str) -> ApprovalResult:
    """Ask for permission to train what stands in the project now.

    Args:
        workspace: the project.
        justification: why this use is wanted and proportionate, in the requester's words.

    Raises:
        DataError: there is no current dataset to ask about.
        GovernanceError: the actor may not request.
    """
    road = survey(workspace)
    base = require_base(workspace, road)
    if road.dataset is None:
        raise DataError(
            Fault("TW-DATA-090", "there is no current dataset to ask about", "", "run `tuneward prepare` first")
        )
    if road.approval:
        return ApprovalResult(approval=road.approval, reused=True, next="tuneward train")
    if road.requested:
        return ApprovalResult(road.requested, reused=True, next=decide(road.requested))
    approval = approvals.request(
        workspace.office,
        project=workspace.project.project,
        dataset=road.dataset.id,
        scope=approval_scope(workspace, base, road.dataset, road.start),
        justification=justification,
        risk_class=workspace.project.risk_class,
    )
    return ApprovalResult(approval=approval, reused=False, next=decide(approval))


def grant(office: Office, approval_id: str, reason: str) -> ApprovalResult:
    """Say yes, and sign the log; the record names decider, reason and policy, and says so when it is one's own request.

    Raises:
        GovernanceError: unknown id, decided already, no role, or own request where the policy wants four eyes.
        ProofError: it was granted, but the log contradicts an earlier checkpoint and is not signed.
    """
    granted = approvals.grant(office, approval_id, reason)
    checkpoint(office)
    return ApprovalResult(granted, reused=False, next="tuneward train")


def refuse(office: Office, approval_id: str, reason: str) -> ApprovalResult:
    """Say no.

    Raises:
        GovernanceError: unknown id, decided already, or no role.
    """
    return ApprovalResult(approvals.refuse(office, approval_id, reason), reused=False, next="tuneward status")


def show(office: Office, approval_id: str) -> ApprovalResult:
    """One request with all that was asked.

    Raises:
        GovernanceError: unknown id.
    """
    approval = approvals.named(office, approval_id)
    follows = {"granted": "tuneward train", "refused": ASK}
    return ApprovalResult(approval, reused=True, next=follows.get(approval.status) or decide(approval))


def list_requests(office: Office, project: str | None = None) -> ApprovalList:
    """All requests, of one project or of the site, newest first."""
    wanted = {"project": project} if project else {}
    with office.site.database.read() as c:
        return ApprovalList(approvals=tuple(reversed(find(c, Approval, **wanted))))


def decide(approval: Approval) -> str:
    """The command that decides a request."""
    return f'tuneward approve grant {approval.id} --reason "…"'
