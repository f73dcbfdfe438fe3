"""Gather everything that the one-page report says from the walked road.

Place on the road: between ``quickstart`` and ``report``. Repeats what the steps recorded; measures nothing.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from tuneward import __version__
from tuneward.amounts import counted
from tuneward.domain.dataset import Dataset
from tuneward.domain.evaluation import Evaluation
from tuneward.domain.run import Run
from tuneward.evaluation.measure import read_report, read_side_by_side
from tuneward.modeling.machine import available_memory_bytes
from tuneward.storage.database import now
from tuneward.workflows.chat import ChatResult
from tuneward.workflows.links import Link
from tuneward.workflows.run import StepDone, gone_on_with
from tuneward.workflows.status import affected_in
from tuneward.workflows.summary import LinkSummary, StepSummary, Summary
from tuneward.workflows.verify import VerifyResult
from tuneward.workflows.workspace import Workspace

HEADLINE = "task.exact_match"
#: Links that the page draws; adapter, register and log stand as facts beside them.
DRAWN = ("answer", "deployment", "version", "evaluation", "approval", "run", "dataset", "base")
NOTICED = ("contradictions", "near_duplicates", "near_test", "test_duplicates", "outside_schema")
LIMITS = (
    "Measured on data of the same making as the training data; live mail will differ.",
    "Greedy decoding on this machine and precision; another engine or quantisation is another artefact.",
    "Personal data in a form that no detector knows is not found; docs/inspection.md says what each of them misses.",
    "The log shows every change to what a kept checkpoint covers; not what never entered it, nor a history rewritten "
    "by whoever holds the signing key and every copy of the checkpoints.",
)


def summarise(workspace: Workspace, steps: Sequence[StepDone], *, answer: ChatResult, proof: VerifyResult) -> Summary:
    """Gather the report's content.

    Args:
        workspace: the project.
        steps: every step walked, serve and verify included, in order.
        answer: the answer that was asked of the served model.
        proof: its walked chain.
    """
    results = {done.step: done.result for done in steps}
    base, dataset, run = results["pull"].base, results["prepare"].dataset, results["train"].run
    evaluation: Evaluation = results["evaluate"].evaluation
    folder = workspace.site.artifacts.tree(evaluation.report)
    report = read_report(folder)
    policy = workspace.office.policy
    return Summary(
        project=workspace.project.project,
        purpose=workspace.project.purpose,
        base=base.name,
        base_licence=base.licence,
        policy=policy.name,
        made_at=now(),
        tuneward=__version__,
        machine=f"{os.cpu_count()} cores, {available_memory_bytes() / (1 << 30):.0f} GiB free, {run.figures['device']}",
        seconds=sum(done.seconds for done in steps),
        headline=HEADLINE,
        figures=report["figures"],
        fields={name: field["f1"] for name, field in report["fields"].items()},
        free_text=[name for name, field in report["fields"].items() if field["compared"] == "token F1"],
        answers=[{**item} for item in read_side_by_side(folder)],  # type: ignore[typeddict-item]
        chosen=report["side_by_side"]["chosen"],
        data=_data(dataset),
        training=_training(workspace, run),
        gate={"passed": evaluation.passed, "reasons": evaluation.reasons},
        chain=[_link(link, proof, results) for link in proof.links if link.name in DRAWN],
        verified=proof.verified,
        steps=[_step(done) for done in steps],
        limits=(*(f"AFFECTED: {line}" for line in affected_in(workspace)), *LIMITS),
        not_measured=[(entry["name"], entry["reason"]) for entry in report["not_measured"]],
        next=["tuneward status", "tuneward serve", "tuneward chat", f"tuneward verify {answer.id}", "tuneward log"],
    )


def _data(dataset: Dataset) -> Any:
    counts = dataset.counts
    return {
        "train": counts["train"],
        "test": counts["test"],
        "findings": counts["findings"],
        "noticed": {name: counts[name] for name in NOTICED if counts.get(name)},
    }


def _training(workspace: Workspace, run: Run) -> Any:
    assert run.curve is not None, "a finished run has its curve"
    picture = workspace.site.artifacts.tree(run.curve) / "loss.svg"
    return {**run.figures, "curve_svg": picture.read_text(encoding="utf-8")}


def _step(done: StepDone) -> StepSummary:
    return StepSummary(
        name=done.step,
        result=_came_to(done),
        seconds=done.seconds,
        state="kept" if done.reused else "done",
    )


def _came_to(done: StepDone) -> str:
    result = done.result
    match done.step:
        case "pull":
            return f"{result.base.name}, {result.base.parameters / 1e6:.0f}M parameters, {result.base.licence}"
        case "prepare":
            return f"{counted(result.dataset.train_rows, 'row')} to train on, {result.dataset.test_rows:,} held out"
        case "approve":
            return "granted by the requester" if result.approval.self_granted else "granted"
        case "train":
            rest = ", the last of them in this call" if gone_on_with(done) else ""
            figures = result.run.figures
            return f"{counted(figures['steps'], 'step')}, {counted(figures['tokens'], 'token')}{rest}"
        case "evaluate":
            return "gate passed" if result.evaluation.passed else "gate says no"
        case "register":
            return f"version {result.version.number}"
        case "deploy":
            return f"as {result.deployment.alias}"
        case "serve":
            return f"{counted(result.answer_tokens, 'token')} answered through the gateway"
        case _:
            return "verified" if result.verified else "not verified"


def _link(link: Link, proof: VerifyResult, results: Mapping[str, Any]) -> LinkSummary:
    digest, at, facts = _about(link.name, results)
    made = LinkSummary(
        kind=link.name,  # type: ignore[typeddict-item]
        id=link.subject,
        digest=digest,
        at=at,
        facts=[*facts, *_beside(link.name, proof)],
        checked=link.holds,
    )
    if link.name == "approval":
        made["self_granted"] = results["approve"].approval.self_granted
    return made


def _about(name: str, results: Mapping[str, Any]) -> tuple[str | None, str | None, list[tuple[str, str]]]:
    """Digest, moment and facts of one noun."""
    match name:
        case "deployment":
            found = results["deploy"].deployment
            moved = f"{found.canary_difference:.2f} on average"
            return None, found.created_at, [("alias", found.alias), ("moves log-probabilities by", moved)]
        case "version":
            found = results["register"].version
            signed = [("number", str(found.number)), ("signed with key", found.key_id[:12])]
            return found.adapter, found.created_at, signed
        case "evaluation":
            found = results["evaluate"].evaluation
            return found.report, found.created_at, [("gate", "passed" if found.passed else "says no")]
        case "approval":
            found = results["approve"].approval
            return found.scope_digest, found.decided_at, [("asked by", found.requested_by), ("reason", found.reason)]
        case "run":
            found = results["train"].run
            return found.inputs_digest, found.finished_at, [("seed", str(found.seed))]
        case "dataset":
            found = results["prepare"].dataset
            return found.fingerprint, found.created_at, [("rows", f"{found.train_rows} to train on")]
        case "base":
            found = results["pull"].base
            return found.id, found.created_at, [("licence", found.licence), ("architecture", found.architecture)]
        case _:
            return None, None, [("model", results["serve"].model)]


def _beside(name: str, proof: VerifyResult) -> list[tuple[str, str]]:
    """Links that are not drawn, as facts of the one they belong to."""
    belongs = {"version": ("adapter",), "answer": ("log", "register")}
    return [(link.name, link.says) for link in proof.links if link.name in belongs.get(name, ())]
