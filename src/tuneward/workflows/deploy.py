"""Step 7, first half: let a version be served, after its whole chain checked out and its adapter proved to act."""

from dataclasses import dataclass, replace

from tuneward.domain.evaluation import Evaluation
from tuneward.domain.run import Adapter, Run
from tuneward.domain.version import Deployment, ModelVersion
from tuneward.errors import Fault, ProofError, ServingError
from tuneward.governance.audit import checkpoint
from tuneward.governance.change import change, permit
from tuneward.governance.consent import heed
from tuneward.ids import new_id
from tuneward.progress import SILENT, Progress
from tuneward.serving.canary import difference, faults
from tuneward.serving.canary import measure as measure_canary
from tuneward.storage.database import now
from tuneward.storage.repository import find, require
from tuneward.workflows.engine import ask_both
from tuneward.workflows.road import survey
from tuneward.workflows.verify import check_registered
from tuneward.workflows.workspace import Workspace


@dataclass(frozen=True)
class DeployResult:
    """What ``deploy`` did.

    Attributes:
        deployment: the active deployment.
        reused: True when this version was already active under the alias.
        next: the command that comes next.
    """

    deployment: Deployment
    reused: bool
    next: str = "tuneward serve"


def deploy(workspace: Workspace, *, progress: Progress = SILENT) -> DeployResult:
    """Activate the current version under the project's alias; what the project or the alias had before is replaced.

    Raises:
        ProofError: no version, or its digest, signature, approval or verdict does not check out (all faults).
        ServingError: the adapter does not change its base's log-probabilities, or not as it did at evaluation; or the
            model scores answers and gives none.
    """
    permit(workspace.office, "deployment.activate")
    with workspace.site.lock("deploy"):
        road = survey(workspace)
        if road.version is None:
            raise ProofError(
                Fault("TW-PROOF-013", "there is no version of the current run", "", "run `tuneward register`")
            )
        refuse_scores(workspace, road.version)
        if broken := check_registered(workspace.office, road.version):
            raise ProofError(broken)
        what = f"version {road.version.number}"
        heed(workspace.office, "version", road.version.id, action="deployment.activate", what=what, say=progress.say)
        if road.deployment:
            return DeployResult(deployment=road.deployment, reused=True)
        progress.say("asking the engine whether the adapter acts as it did at evaluation")
        acts = _canary(workspace, road.version)
        deployment = Deployment(
            id=new_id("dep"),
            project=workspace.project.project,
            alias=workspace.alias,
            version=road.version.id,
            status="active",
            system=workspace.project.data.system,
            canary_difference=round(acts, 6),
            created_at=now(),
        )
        with workspace.site.database.read() as c:
            active = find(c, Deployment, status="active")
        before = [other for other in active if workspace.alias == other.alias or deployment.project == other.project]
        with change(workspace.office, "deployment.activate", deployment.id) as c:
            for earlier in before:
                c.put(replace(earlier, status="replaced"))
            c.put(deployment)
            c.link(road.version, deployment)
            c.note(alias=workspace.alias, version=road.version.id, adapter=road.version.adapter)
        checkpoint(workspace.office)
    return DeployResult(deployment=deployment, reused=False)


def refuse_scores(workspace: Workspace, version: ModelVersion) -> None:
    """Refuse to serve what gives no answers.

    Raises:
        ServingError: the version is a reward model.
    """
    with workspace.site.database.read() as c:
        method = require(c, Run, version.run).config.get("method")
    if method == "reward":
        what = "a reward model scores answers and gives none, so it is registered and not served"
        cure = "load it as a sequence classifier; deploy a run of the method sft or dpo"
        raise ServingError(Fault("TW-SERV-054", what, f"version {version.number} ({version.id})", cure))


def _canary(workspace: Workspace, version: ModelVersion) -> float:
    """Load the version into an engine and measure; returns its difference from the base."""
    with workspace.site.database.read() as c:
        evaluation, adapter = require(c, Evaluation, version.evaluation), require(c, Adapter, version.adapter)
    both = ask_both(workspace, adapter, lambda client, model, _: measure_canary(client, model))
    if found := faults(base=both.base, adapter=both.tuned, reference=evaluation.canary["tuned"]):
        raise ServingError(found)
    return difference(both.base, both.tuned)
