"""Any time: the road as it stands: what is done, what is stale, what comes next."""

from dataclasses import dataclass
from typing import Any, Literal

from tuneward.amounts import counted
from tuneward.domain.dataset import Dataset
from tuneward.domain.law import Withdrawal
from tuneward.domain.run import Run
from tuneward.domain.version import Deployment, ModelVersion
from tuneward.governance.consent import said, standing
from tuneward.storage.repository import find, latest
from tuneward.workflows.approve import decide
from tuneward.workflows.prepare import ASK
from tuneward.workflows.road import STEPS, Road, next_step, steps_of, survey
from tuneward.workflows.workspace import Workspace

State = Literal["done", "stale", "open", "waiting", "running", "interrupted", "not needed"]


@dataclass(frozen=True)
class StepState:
    """One step.

    Attributes:
        step: its command.
        state: ``done`` for the inputs of today, ``stale`` (done for earlier inputs), ``waiting`` for a decision,
            ``running``, ``interrupted`` (the same command goes on), ``not needed`` under the policy, or ``open``.
        says: id and a few words about the result.
    """

    step: str
    state: State
    says: str


@dataclass(frozen=True)
class StatusResult:
    """The road of one project.

    Attributes:
        project: its name.
        policy: the policy in force.
        steps: every step in order.
        affected: what stands downstream of withdrawn consents, in words; empty where nothing does.
        next: the next command.
    """

    project: str
    policy: str
    steps: tuple[StepState, ...]
    next: str
    affected: tuple[str, ...] = ()


def status(workspace: Workspace) -> StatusResult:
    """See how far the project has come.

    Raises:
        DataError: a file that the project names is missing.
    """
    road = survey(workspace)
    following = next_step(workspace, road)
    policy, wanted = workspace.office.policy, steps_of(workspace)
    training = workspace.site.held("train")
    return StatusResult(
        project=workspace.project.project,
        policy=f"{policy.name} {policy.version}",
        steps=tuple(
            StepState(step, _state(step, road, wanted, training), _says(step, road, training)) for step in STEPS
        ),
        next=_command(following, road, workspace),
        affected=affected_in(workspace),
    )


def affected_in(workspace: Workspace) -> tuple[str, ...]:
    """Datasets, runs, versions and active deployments of the project that stand downstream of withdrawn consents."""
    project = workspace.project.project
    found: list[str] = []
    with workspace.site.database.read() as c:
        nouns: list[tuple[str, Any, str]] = [
            *(("dataset", noun, noun.id) for noun in find(c, Dataset, project=project)),
            *(("run", noun, noun.id) for noun in find(c, Run, project=project, status="finished")),
            *(("version", noun, f"{noun.id} ({noun.number})") for noun in find(c, ModelVersion, project=project)),
            *(
                ("deployment", noun, f"{noun.id} (as {noun.alias})")
                for noun in find(c, Deployment, project=project, status="active")
            ),
        ]
        if latest(c, Withdrawal) is not None:
            for kind, noun, name in nouns:
                if marks := standing(c, kind, noun.id):
                    found.append(f"{kind} {name}: {said(marks)}")
    return tuple(found)


def _state(step: str, road: Road, wanted: tuple[str, ...], training: bool) -> State:
    if road.done(step):
        return "done"
    if step not in wanted:
        return "not needed"
    if step == "approve" and road.requested:
        return "waiting"
    if step == "train" and road.interrupted:
        return "running" if training else "interrupted"
    return "stale" if step in road.stale else "open"


def _says(step: str, road: Road, training: bool) -> str:
    match step:
        case "pull" if road.base:
            return f"{road.base.name}, {road.base.parameters / 1e6:.0f}M parameters, {road.base.licence}"
        case "prepare" if road.dataset:
            rows = f"{counted(road.dataset.train_rows, 'row')} to train on, {road.dataset.test_rows:,} held out"
            return f"{road.dataset.id}: {rows}"
        case "prepare" if road.reason:
            return road.reason
        case "approve" if road.approval:
            own = " (own request)" if road.approval.self_granted else ""
            return f"{road.approval.id}: granted by {road.approval.decided_by}{own}"
        case "approve" if road.requested:
            return f"{road.requested.id}: asked by {road.requested.requested_by}"
        case "train" if road.run:
            return f"{road.run.id}: loss {road.run.figures['final_loss']:.3f}"
        case "train" if road.interrupted and training:
            return f"{road.interrupted.id}: a process trains on this site now"
        case "train" if road.interrupted:
            return f"{road.interrupted.id}: `tuneward train` goes on from its last checkpoint"
        case "evaluate" if road.evaluation:
            return f"{road.evaluation.id}: gate {'passed' if road.evaluation.passed else 'says no'}"
        case "register" if road.version:
            return f"{road.version.id}: version {road.version.number}"
        case "deploy" if road.deployment:
            return f"{road.deployment.id}: as {road.deployment.alias}"
    return ""


def _command(step: str | None, road: Road, workspace: Workspace) -> str:
    if step is None:
        return "tuneward serve" if "deploy" in steps_of(workspace) else "tuneward verify"
    if step == "approve":
        return decide(road.requested) if road.requested else ASK
    if step == "pull":
        return f"tuneward pull {workspace.project.base}"
    if step == "register" and road.evaluation and not road.evaluation.passed:
        return "mend data or settings, then tuneward run"
    return f"tuneward {step}"
