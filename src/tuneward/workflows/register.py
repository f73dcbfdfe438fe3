"""Step 6: a version with AIBOM, model card and signature, for a run whose evaluation passed its gate."""

from dataclasses import dataclass

from sqlalchemy import Connection

from tuneward import __version__
from tuneward.domain.approval import Approval
from tuneward.domain.run import Adapter, Run
from tuneward.domain.version import ModelVersion
from tuneward.errors import EvaluationError, Fault
from tuneward.governance.audit import checkpoint
from tuneward.governance.change import change, permit
from tuneward.governance.consent import heed
from tuneward.ids import new_id
from tuneward.progress import SILENT, Progress
from tuneward.registry.versions import make_papers
from tuneward.storage.database import now
from tuneward.storage.repository import find, get, require
from tuneward.workflows.evaluate import gate_says_no, require_run
from tuneward.workflows.licence import decision_of
from tuneward.workflows.prepare import require_base
from tuneward.workflows.provenance import provenance_of
from tuneward.workflows.road import steps_of, survey
from tuneward.workflows.train import require_approval, require_dataset
from tuneward.workflows.workspace import Workspace


@dataclass(frozen=True)
class RegisterResult:
    """What ``register`` did.

    Attributes:
        version: the registered version.
        papers: folder with AIBOM, model card and signed statement.
        adapter: folder with the adapter in PEFT's format, or with the whole model.
        reused: True when this evaluation was registered already.
        next: the command that comes next.
    """

    version: ModelVersion
    papers: str
    adapter: str
    reused: bool
    next: str = "tuneward deploy"


def register(workspace: Workspace, *, progress: Progress = SILENT) -> RegisterResult:
    """Register the current run as the project's next version.

    Raises:
        EvaluationError: it was not evaluated, or the gate said no (every reason).
        GovernanceError: the actor may not register.
        ProofError: it was registered, but the log contradicts an earlier checkpoint and is not signed.
    """
    permit(workspace.office, "version.register")
    with workspace.site.lock("register"):
        road = survey(workspace)
        require_base(workspace, road)
        require_dataset(road)
        current, evaluation = require_run(road), road.evaluation
        if evaluation is None:
            raise EvaluationError(
                Fault("TW-EVAL-009", "the current run was not evaluated", current.id, "run `tuneward evaluate`")
            )
        if not evaluation.passed:
            raise gate_says_no(evaluation)
        asked = require_approval(workspace, road)  # the gate of today may differ from the one at the run's start
        artifacts = workspace.site.artifacts
        if road.version and not artifacts.check(road.version.papers):
            return _result(workspace, road.version, reused=True)
        with workspace.site.database.read() as c:
            number = next_number(c, workspace.project.project)
            adapter = get(c, Adapter, evaluation.adapter)
            run = require(c, Run, evaluation.run)  # an earlier one where the same bits came out again
            approval = require(c, Approval, run.approval) if run.approval else None
            decision = decision_of(c, evaluation.base)
        assert adapter is not None, "an evaluated adapter is in the register"
        what = "the model that would be registered"
        heed(workspace.office, "adapter", adapter.id, action="version.register", what=what, say=progress.say)
        created_at = now()
        progress.say("writing AIBOM, model card and signed statement")
        papers = make_papers(
            provenance_of(
                workspace.office,
                evaluation,
                approval,
                permission=asked,
                number=number,
                created_at=created_at,
                decision=decision,
            ),
            workspace.office.keys,
        )
        with workspace.site.scratch() as scratch:
            papers.write(scratch)
            tree = artifacts.put_tree(scratch)
        version = ModelVersion(
            id=new_id("ver"),
            project=workspace.project.project,
            number=number,
            adapter=adapter.id,
            base=evaluation.base,
            dataset=evaluation.dataset,  # the one that trained; today's may hold the same rows under another id
            run=run.id,
            approval=approval.id if approval else None,
            evaluation=evaluation.id,
            papers=tree,
            statement=papers.statement_digest,
            key_id=workspace.office.keys.key_id,
            tool_version=__version__,
            created_at=created_at,
        )
        with change(workspace.office, "version.register", version.id) as c:
            c.put(version)
            c.link(adapter, version)
            c.link(evaluation, version)
            if decision:
                c.link(decision, version)
            for permission in {given.id: given for given in (approval, asked) if given}.values():
                c.link(permission, version)
            c.note(adapter=version.adapter, papers=version.papers, statement=version.statement)
        checkpoint(workspace.office)
    return _result(workspace, version, reused=False)


def next_number(connection: Connection, project: str) -> int:
    """One more than the project's highest; what time it is has no say, as a clock may be set back."""
    return max((version.number for version in find(connection, ModelVersion, project=project)), default=0) + 1


def _result(workspace: Workspace, version: ModelVersion, *, reused: bool) -> RegisterResult:
    artifacts = workspace.site.artifacts
    return RegisterResult(
        next="tuneward deploy" if "deploy" in steps_of(workspace) else "tuneward verify",
        version=version,
        papers=str(artifacts.tree(version.papers)),
        adapter=str(artifacts.tree(version.adapter)),
        reused=reused,
    )
