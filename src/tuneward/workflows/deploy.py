"""Step 7, first half: let a version be served, after its whole chain checked out and its adapter proved to act."""

from dataclasses import dataclass, replace

from tuneward.domain.evaluation import Evaluation
from tuneward.domain.version import Deployment, ModelVersion
from tuneward.errors import Fault, ProofError, ServingError
from tuneward.governance.audit import checkpoint
from tuneward.governance.change import change, permit
from tuneward.ids import new_id
from tuneward.progress import SILENT, Progress
from tuneward.serving.canary import difference, faults
from tuneward.serving.canary import measure as measure_canary
from tuneward.storage.database import now
from tuneward.storage.repository import find, get
from tuneward.workflows.engine import BASE_NAME, engine_with
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
        ServingError: the adapter does not change its base's log-probabilities, or not as it did at evaluation.
    """
    permit(workspace.office, "deployment.activate")
    with workspace.site.lock("deploy"):
        road = survey(workspace)
        if road.version is None:
            raise ProofError(
                Fault("TW-PROOF-013", "there is no version of the current run", "", "run `tuneward register`")
            )
        if broken := check_registered(workspace.office, road.version):
            raise ProofError(broken)
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


def _canary(workspace: Workspace, version: ModelVersion) -> float:
    """Load the version into an engine and measure; returns its difference from the base."""
    with workspace.site.database.read() as c:
        evaluation = get(c, Evaluation, version.evaluation)
    assert evaluation is not None, "the chain was checked"
    with engine_with(workspace, base_id=version.base, adapter_id=version.adapter) as (client, _):
        of_base, of_tuned = measure_canary(client, BASE_NAME), measure_canary(client, version.adapter)
    if found := faults(base=of_base, adapter=of_tuned, reference=evaluation.canary["tuned"]):
        raise ServingError(found)
    return difference(of_base, of_tuned)
