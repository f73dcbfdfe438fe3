"""Step 5: base and tuned answer the same held-out items through the engine that will serve; the gate judges.

A reward model answers nothing: its report is made of what the training process measured on the held-out pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneward.amounts import counted
from tuneward.data.prepared import read_records
from tuneward.domain.dataset import Dataset
from tuneward.domain.evaluation import Evaluation
from tuneward.domain.record import Record
from tuneward.domain.run import Adapter, Run
from tuneward.errors import EvaluationError, Fault, TrainingError
from tuneward.evaluation.gate import judge, unmet
from tuneward.evaluation.measure import Item, Report, check_items, choose_items, measure, read_report
from tuneward.evaluation.reward import RewardReport, report_reward
from tuneward.evaluation.tasks import Task, make_task
from tuneward.governance.change import change, permit
from tuneward.ids import new_id
from tuneward.progress import SILENT, Progress
from tuneward.serving.canary import measure as measure_canary
from tuneward.serving.client import EngineClient
from tuneward.serving.wire import Answer
from tuneward.storage.database import now
from tuneward.storage.lineage import Ref
from tuneward.storage.repository import require
from tuneward.workflows.engine import ask_both
from tuneward.workflows.prepare import require_base
from tuneward.workflows.road import Road, evaluation_inputs, survey
from tuneward.workflows.train import require_dataset
from tuneward.workflows.workspace import Workspace


@dataclass(frozen=True)
class EvaluateResult:
    """What ``evaluate`` found.

    Attributes:
        evaluation: verdict, reasons and where the report lies.
        report: every figure with n and interval.
        reused: True when the same evaluation was there.
        next: the command that comes next.
    """

    evaluation: Evaluation
    report: Mapping[str, Any]
    reused: bool
    next: str


def evaluate(workspace: Workspace, *, progress: Progress = SILENT) -> EvaluateResult:
    """Measure what the current run trained against its own base.

    Greedy decoding of every held-out item, both models through the engine, as they are served: in the same precision,
    on a base kept in four bits where the adapter was trained beside such a one.

    Raises:
        TrainingError: there is no finished run of the current inputs.
        EvaluationError: the task, its schema or reference answers cannot be used; known before a model is asked.
        ServingError: the engine cannot start or answer.
    """
    permit(workspace.office, "evaluation.finish")
    with workspace.site.lock("evaluate"):
        road = survey(workspace)
        base, dataset, run = require_base(workspace, road), require_dataset(road), require_run(road)
        if road.evaluation and not workspace.site.artifacts.check(road.evaluation.report):
            return _result(workspace, road.evaluation, reused=True)
        config = workspace.project.evaluation
        task = make_task(config, project_folder=workspace.folder)
        with workspace.site.database.read() as c:
            adapter = require(c, Adapter, _adapter_of(run))
        report: Report | RewardReport
        if run.config["method"] == "reward":
            report = report_reward(task, run.figures, seed=config.seed, suites=config.suites)
            canary: Mapping[str, Any] = {}
        else:
            report, canary = _compare(workspace, task, adapter, dataset, progress=progress)
        verdict = judge(report.to_json(), config.gate)
        evaluation = Evaluation(
            id=new_id("evl"),
            project=workspace.project.project,
            run=run.id,
            adapter=adapter.id,
            base=base.id,
            dataset=run.dataset,  # the one that trained; today's may hold the same rows under other terms
            inputs_digest=evaluation_inputs(workspace, run, dataset),
            report=_store(workspace, report),
            gate=config.gate_json(),
            passed=verdict.passed,
            reasons=verdict.reasons,
            canary=canary,
            created_at=now(),
        )
        with change(workspace.office, "evaluation.finish", evaluation.id) as c:
            c.put(evaluation)
            c.link(adapter, evaluation)
            c.link(Ref("dataset", run.dataset), evaluation)
            c.note(report=evaluation.report, passed=evaluation.passed)
    return _result(workspace, evaluation, reused=False)


def require_run(road: Road) -> Run:
    """The finished run of the current inputs, or the error that says how to get it."""
    if road.run is None:
        why = "the data or the training settings changed since the last run" if "train" in road.stale else "nothing"
        message = f"{why}: there is no finished run of them" if "train" in road.stale else "there is no finished run"
        raise TrainingError(Fault("TW-TRAIN-021", message, "", "run `tuneward train`"))
    return road.run


def gate_says_no(evaluation: Evaluation) -> EvaluationError:
    """The error of whoever wants to go on behind a gate that says no: one fault per threshold that was not met."""
    cure = "mend data or settings and run again; another gate needs another approval"
    return EvaluationError([Fault("TW-EVAL-010", reason, evaluation.id, cure) for reason in unmet(evaluation.reasons)])


def _adapter_of(run: Run) -> str:
    assert run.adapter is not None, "a finished run names its adapter"
    return run.adapter


def _compare(
    workspace: Workspace, task: Task, adapter: Adapter, dataset: Dataset, *, progress: Progress
) -> tuple[Report, Mapping[str, Any]]:
    """Both models' answers, compared, and their canary figures."""
    config = workspace.project.evaluation
    records = read_records(workspace.site.artifacts.tree(dataset.tree) / "test.jsonl")
    prompts = {record.id: record.prompt for record in records}
    asked = [Item(id=r.id, prompt=r.prompt[-1].content, reference=r.answer) for r in records if _asks(r)]
    if records and not asked:
        told = f"none of {counted(len(records), 'test row')} is a question with an answer to compare with"
        raise EvaluationError(Fault("TW-EVAL-005", told, "data.test", "hold out questions with good answers"))
    if len(asked) < len(records):
        left = len(records) - len(asked)
        one, many = "test row asks nothing that can be compared, or calls tools", "test rows ask nothing that can be "
        progress.say(counted(left, one, f"{many}compared, or call tools"))
    items = choose_items(asked, limit=config.items, seed=config.seed)
    check_items(task, items)

    def ask(client: EngineClient, model: str, which: str) -> tuple[list[Answer], Mapping[str, Any]]:
        answers = client.answers(
            model,
            [prompts[item.id] for item in items],
            max_tokens=config.task.max_tokens,
            progress=progress,
            title=f"{which} answers",
        )
        return answers, measure_canary(client, model)

    both = ask_both(workspace, adapter, ask)
    report = measure(
        task,
        items,
        [answer.text for answer in both.base[0]],
        [answer.text for answer in both.tuned[0]],
        seed=config.seed,
        samples=config.samples,
        suites=config.suites,
        quantisation=both.quantisation,
        cut={"base": _cut(both.base[0]), "tuned": _cut(both.tuned[0])},
        max_tokens=config.task.max_tokens,
    )
    canary = {"base": both.base[1], "tuned": both.tuned[1], "precision": both.precision}
    return report, canary | ({"quantisation": both.quantisation} if both.quantisation != "none" else {})


def _cut(answers: Sequence[Answer]) -> frozenset[int]:
    """Places of the answers that had the length which was asked for before the model had ended them."""
    return frozenset(place for place, answer in enumerate(answers) if answer.finish_reason == "length")


def _store(workspace: Workspace, report: Report | RewardReport) -> str:
    with workspace.site.scratch() as scratch:
        report.write(scratch)
        return workspace.site.artifacts.put_tree(scratch)


def _asks(record: Record) -> bool:
    """Whether a test row is a question with an answer to compare with.

    A document asks nothing, an answer judged bad is no reference, and the engine is handed no tools.
    """
    calls = record.tools or any(message.role == "tool" or message.tool_calls for message in record.messages)
    return bool(record.prompt) and record.desirable is not False and not calls


def _result(workspace: Workspace, evaluation: Evaluation, *, reused: bool) -> EvaluateResult:
    return EvaluateResult(
        evaluation=evaluation,
        report=read_report(workspace.site.artifacts.tree(evaluation.report)),
        reused=reused,
        next="tuneward register" if evaluation.passed else "tuneward status",
    )
