"""The road: which step stands on which, what is done, what is stale, what comes next.

Place on the road: asked by every step before it works ("is this done already?") and by ``status`` and ``run``. This is
the only place that says of what a step's result is made: each result keeps the digest of its inputs, and is current
exactly while that digest is the one computed here.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from tuneward import __version__
from tuneward.data.files import file_digests
from tuneward.data.terms import names_licence
from tuneward.digests import digest_value
from tuneward.domain.approval import Approval
from tuneward.domain.base import Base
from tuneward.domain.dataset import Dataset
from tuneward.domain.evaluation import Evaluation
from tuneward.domain.law import Affected
from tuneward.domain.record import Form
from tuneward.domain.run import Run
from tuneward.domain.version import Deployment, ModelVersion
from tuneward.evaluation.tasks import make_task
from tuneward.governance.approvals import covering, waiting
from tuneward.inspection.identity import rules_digest
from tuneward.inspection.inspector import inspection_inputs
from tuneward.storage.repository import find, latest
from tuneward.training.config import TrainingConfig
from tuneward.workflows.bases import base_named
from tuneward.workflows.licence import decision_of, licence_in_force
from tuneward.workflows.provenance import decision_behind, permission_of
from tuneward.workflows.starts import start_of
from tuneward.workflows.workspace import Workspace

#: Every step in order; ``approve`` and ``deploy`` are not everybody's, see :func:`steps_of`.
STEPS = ("pull", "prepare", "approve", "train", "evaluate", "register", "deploy")


@dataclass(frozen=True)
class Road:
    """The current result of each step, None where there is none for the inputs of today.

    Attributes:
        start: digest of what training begins with; None where it begins at the base, or none is known yet.
        requested: a request for exactly this run that waits for its decision.
        interrupted: a run of these inputs that started and neither finished nor failed.
        stale: steps that have a result, but of inputs that changed since.
        reason: why the newest dataset holds no longer, where the cause lies in no file or setting; else empty.
    """

    base: Base | None = None
    dataset: Dataset | None = None
    approval: Approval | None = None
    run: Run | None = None
    evaluation: Evaluation | None = None
    version: ModelVersion | None = None
    deployment: Deployment | None = None
    start: str | None = None
    requested: Approval | None = None
    interrupted: Run | None = None
    stale: frozenset[str] = frozenset()
    reason: str = ""

    def done(self, step: str) -> bool:
        """Whether ``step`` (one of ``STEPS``) has a current result."""
        return getattr(self, _RESULT[step]) is not None


_RESULT = {
    "pull": "base",
    "prepare": "dataset",
    "approve": "approval",
    "train": "run",
    "evaluate": "evaluation",
    "register": "version",
    "deploy": "deployment",
}
_NOUN: dict[str, type[Any]] = {
    "prepare": Dataset,
    "approve": Approval,
    "train": Run,
    "evaluate": Evaluation,
    "register": ModelVersion,
    "deploy": Deployment,
}


#: ``training.method`` → what it learns from.
FORMS: dict[str, Form] = {"pretrain": "document", "sft": "conversation", "dpo": "pair", "reward": "pair"}


def row_form(training: TrainingConfig) -> Form:
    """What the rows of a project must be; the loss ``kto`` learns from single answers with a verdict."""
    if training.method == "dpo" and str(training.preference.loss) == "kto":
        return "judged"
    return FORMS[training.method]


def dataset_inputs(workspace: Workspace, base: Base) -> str:
    """Digest of all that ``prepare`` depends on.

    Raises:
        DataError: a file that the project names is missing.
        ConfigError: a list of terms that the project names cannot be read.
    """
    policy = workspace.office.policy
    form = row_form(workspace.project.training)
    return digest_value(
        {
            **({} if form == "conversation" else {"form": form}),
            "data": workspace.project.data.canonical(),
            "files": file_digests(workspace.project.data, workspace.folder),
            "task": make_task(workspace.project.evaluation, project_folder=workspace.folder).digest,
            "rules": rules_digest(),
            "inspection": inspection_inputs(workspace.project.inspection, folder=workspace.folder),
            "policy": {
                "on_finding": dict(policy.on_finding),
                "contamination": policy.contamination,
                "require": list(policy.require),
                "on_unlawful": dict(policy.on_unlawful),
                "geography": list(policy.geography),
            },
            **({"use": workspace.project.use} if names_licence(workspace.project.data) else {}),
            "base": base.id,
            "tool": __version__,
        }
    )


def approval_scope(workspace: Workspace, base: Base, dataset: Dataset, start: str | None) -> dict[str, Any]:
    """What an approver says yes or no to; a run is covered only by an approval of exactly this."""
    project = workspace.project
    return {
        "project": project.project,
        "purpose": project.purpose,
        "use": project.use,
        "risk_class": project.risk_class,
        "base": {"id": base.id, "name": base.name, "licence": _licence(workspace, base)},
        "dataset": dataset.fingerprint,
        "data": {
            "legal_basis": project.data.legal_basis,
            "licence": project.data.licence,
            **({"terms": dataset.terms} if dataset.terms else {}),
        },
        "training": project.training.canonical(),
        "evaluation": project.evaluation.canonical(),
        "task": make_task(project.evaluation, project_folder=workspace.folder).digest,  # its schema's content, too
        **_begun(start),
    }


def _licence(workspace: Workspace, base: Base) -> str:
    with workspace.site.database.read() as c:
        return licence_in_force(c, base)


def run_inputs(workspace: Workspace, base: Base, dataset: Dataset, start: str | None) -> str:
    """Digest of all that a run's weights depend on."""
    training = workspace.project.training.canonical()
    return digest_value({"dataset": dataset.fingerprint, "base": base.id, "training": training, **_begun(start)})


def _begun(start: str | None) -> dict[str, str]:
    """What training begins with, by its digest: the settings name a run or a folder."""
    return {} if start is None else {"start": start}


def evaluation_inputs(workspace: Workspace, run: Run, dataset: Dataset) -> str:
    """Digest of all that an evaluation depends on."""
    evaluation = workspace.project.evaluation
    return digest_value(
        {
            "adapter": run.adapter,
            "base": run.base,
            "dataset": dataset.fingerprint,
            "evaluation": evaluation.canonical(),
            "task": make_task(evaluation, project_folder=workspace.folder).digest,
            "precision": workspace.project.serving.precision,
        }
    )


def survey(workspace: Workspace) -> Road:
    """See how far the project has come with the inputs of today.

    Raises:
        DataError: a file that the project names is missing.
        TrainingError: ``training.start`` names nothing that training can begin with.
    """
    project = workspace.project
    name = project.project
    road = Road()
    with workspace.site.database.read() as c:
        stale = {step for step, noun in _NOUN.items() if find(c, noun, project=name)}
        road = replace(road, base=base_named(c, workspace.site, project.base, workspace.folder))
        if road.base:
            road = replace(road, dataset=_dataset(c, workspace, road.base))
        if road.base and road.dataset:
            start = start_of(c, workspace, road.base)
            inputs = run_inputs(workspace, road.base, road.dataset, start)
            road = replace(
                road,
                start=start,
                run=latest(c, Run, project=name, inputs_digest=inputs, status="finished"),
                interrupted=latest(c, Run, project=name, inputs_digest=inputs, status="running"),
            )
        if road.dataset and road.run:
            inputs = evaluation_inputs(workspace, road.run, road.dataset)
            road = replace(road, evaluation=latest(c, Evaluation, project=name, inputs_digest=inputs))
    if road.base and road.dataset:
        scope = digest_value(approval_scope(workspace, road.base, road.dataset, road.start))
        road = replace(road, approval=covering(workspace.office, scope), requested=waiting(workspace.office, scope))
    with workspace.site.database.read() as c:
        if road.base and not road.dataset:
            road = replace(road, reason=_other_rules(latest(c, Dataset, project=name)))
        if road.evaluation:
            road = replace(road, version=_version(c, workspace, road))
        if road.version:
            active = {"version": road.version.id, "alias": workspace.alias, "status": "active"}
            road = replace(road, deployment=latest(c, Deployment, **active))
    return replace(road, stale=frozenset(step for step in stale if not road.done(step)))


def _dataset(connection: Connection, workspace: Workspace, base: Base) -> Dataset | None:
    """The project's first dataset with the rows that its files give today: what trained on them names that one.

    A dataset whose longest question leaves no room for the answers that are asked for today is none; nor is one of
    which a consent or a retention has ended since, or that a withdrawn consent reaches.
    """
    project = workspace.project
    inputs = dataset_inputs(workspace, base)
    today = latest(connection, Dataset, project=project.project, inputs_digest=inputs)
    if today is None:
        return None
    if today.counts["longest_question_tokens"] + project.evaluation.task.max_tokens > base.context_tokens:
        return None
    if ((today.counts.get("law") or {}).get("valid_until") or _today()) < _today():
        return None
    affected = {marked.noun for marked in find(connection, Affected, kind="dataset")}
    same = {"project": today.project, "base": today.base, "fingerprint": today.fingerprint, "terms": today.terms}
    sound = (found for found in find(connection, Dataset, order="created_at", **same) if found.id not in affected)
    return next(sound, None)


def _other_rules(newest: Dataset | None) -> str:
    if newest is None or newest.inspector == rules_digest():
        return ""
    if newest.inspector is None:
        return f"by which rules the rows of {newest.id} were inspected is not known"
    return f"the rows of {newest.id} were inspected by other rules than those of this Tuneward"


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _version(connection: Connection, workspace: Workspace, road: Road) -> ModelVersion | None:
    """The newest version of the current evaluation whose papers tell the purpose, use and licence that hold today."""
    assert road.evaluation is not None, "asked only behind an evaluation"
    versions = find(connection, ModelVersion, evaluation=road.evaluation.id, order="-number")
    if workspace.office.policy.approval_required:
        versions = [version for version in versions if road.approval == permission_of(connection, version)]
    decision = decision_of(connection, road.evaluation.base)
    return next((version for version in versions if decision_behind(connection, version) == decision), None)


def steps_of(workspace: Workspace) -> tuple[str, ...]:
    """The project's steps: a policy may ask for no approval, and a reward model is not deployed."""
    left_out = set() if workspace.office.policy.approval_required else {"approve"}
    if workspace.project.training.method == "reward":
        left_out.add("deploy")
    return tuple(step for step in STEPS if step not in left_out)


def next_step(workspace: Workspace, road: Road) -> str | None:
    """The first step that has no current result, or None at the end of the road."""
    for step in steps_of(workspace):
        if not road.done(step):
            return step
    return None
