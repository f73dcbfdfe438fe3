"""All steps in order: `tuneward run` walks the road and stops at the first gate that says no."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tuneward.errors import Fault, GovernanceError
from tuneward.progress import SILENT, Progress
from tuneward.workflows.approve import grant, request
from tuneward.workflows.deploy import deploy
from tuneward.workflows.evaluate import evaluate, gate_says_no
from tuneward.workflows.prepare import prepare
from tuneward.workflows.pull import pull
from tuneward.workflows.register import register
from tuneward.workflows.road import steps_of
from tuneward.workflows.train import TrainResult, train
from tuneward.workflows.workspace import Workspace

OWN_GRANT = "granted by the requester, as policy {policy} allows"


@dataclass(frozen=True)
class StepDone:
    """One step of the walk.

    Attributes:
        step: its command.
        result: what the step's own workflow returned.
        reused: True when its inputs had not changed and nothing was done again.
        seconds: how long it took.
    """

    step: str
    result: Any
    reused: bool
    seconds: float


def gone_on_with(done: StepDone) -> bool:
    """Whether an earlier call had begun the step, so that its seconds are those of the rest."""
    return isinstance(done.result, TrainResult) and done.result.resumed


@dataclass(frozen=True)
class RunResult:
    """The walk.

    Attributes:
        steps: every step, in order.
        next: the command that comes next.
    """

    steps: tuple[StepDone, ...]
    next: str = "tuneward serve"

    def of(self, step: str) -> Any:
        """The result of one step."""
        return next(done.result for done in self.steps if done.step == step)


def run(
    workspace: Workspace,
    *,
    progress: Progress = SILENT,
    told: Callable[[StepDone], None] = lambda done: None,
) -> RunResult:
    """Walk pull, prepare, approve, train, evaluate, register and deploy; skip what is current.

    Args:
        workspace: the project.
        progress: told how far each step is.
        told: called after each step.

    Raises:
        GovernanceError: another person has to grant the approval first.
        EvaluationError: the gate says no, with its reasons.
        TunewardError: whatever a step refuses.
    """
    steps: list[StepDone] = []

    def step(name: str, work: Callable[[], Any]) -> Any:
        began = time.monotonic()
        result = work()
        done = StepDone(name, result, reused=result.reused, seconds=round(time.monotonic() - began, 2))
        steps.append(done)
        told(done)
        return result

    project = workspace.project
    step(
        "pull",
        lambda: pull(
            workspace.office,
            project.base,
            use=project.use,
            beside=workspace.folder,
            follow=False,  # a push at the hub must not throw away a walk that is under way
            progress=progress,
        ),
    )
    step("prepare", lambda: prepare(workspace, progress=progress))
    if "approve" in steps_of(workspace):
        step("approve", lambda: _approve(workspace))
    step("train", lambda: train(workspace, progress=progress))
    evaluated = step("evaluate", lambda: evaluate(workspace, progress=progress))
    if not evaluated.evaluation.passed:
        raise gate_says_no(evaluated.evaluation)
    step("register", lambda: register(workspace, progress=progress))
    if "deploy" not in steps_of(workspace):
        return RunResult(steps=tuple(steps), next="tuneward verify")
    step("deploy", lambda: deploy(workspace, progress=progress))
    return RunResult(steps=tuple(steps))


def _approve(workspace: Workspace) -> Any:
    """Ask; where the policy lets the requester decide, grant and say so; else wait for another person."""
    asked = request(workspace, justification=workspace.project.purpose)
    if asked.approval.status == "granted":
        return asked
    policy = workspace.office.policy
    if policy.self_approval:
        return grant(workspace.office, asked.approval.id, OWN_GRANT.format(policy=policy.name))
    raise GovernanceError(
        Fault(
            "TW-GOV-090",
            f"{asked.approval.id} waits for another person's decision (policy {policy.name} wants four eyes)",
            asked.approval.id,
            f"an approver runs `tuneward approve grant {asked.approval.id} --reason …`; then run this again",
        )
    )
