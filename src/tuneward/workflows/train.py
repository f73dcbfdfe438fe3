"""Step 4: start, follow and, after an interruption, go on with a run; take in the adapter that it leaves."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuneward.domain.approval import Approval
from tuneward.domain.dataset import Dataset
from tuneward.domain.run import CHECKPOINT, Adapter, Run, trained_kind
from tuneward.errors import DataError, Fault, GovernanceError, TrainingError
from tuneward.governance.change import change, permit
from tuneward.ids import new_id
from tuneward.progress import SILENT, Progress
from tuneward.storage.database import now
from tuneward.storage.lineage import Ref
from tuneward.storage.repository import get, latest, sift
from tuneward.training.config import HOW, what_of
from tuneward.workflows.approve import decide
from tuneward.workflows.child import follow
from tuneward.workflows.plan_text import estimate_text, memory_text, plan_text
from tuneward.workflows.prepare import ASK, require_base
from tuneward.workflows.road import Road, approval_scope, run_inputs, survey
from tuneward.workflows.starts import keep
from tuneward.workflows.workspace import Workspace

#: Faults that lie outside the run: mended, the same command goes on from the newest checkpoint.
GOES_ON = frozenset({"TW-TRAIN-009", "TW-STOR-007", "TW-STOR-012"})


@dataclass(frozen=True)
class TrainResult:
    """What ``train`` did.

    Attributes:
        run: the finished run, with its figures.
        adapter: the adapter it left.
        resumed: True when an interrupted run was gone on with.
        reused: True when a finished run of the same inputs was there.
        next: the command that comes next.
    """

    run: Run
    adapter: Adapter
    resumed: bool
    reused: bool
    next: str = "tuneward evaluate"


def train(workspace: Workspace, *, resume: bool = False, progress: Progress = SILENT) -> TrainResult:
    """Train what the project describes, in a process of its own.

    Interrupted by Ctrl-C, it leaves a checkpoint; killed, the last one stands. The same call goes on from there and
    ends in the same bits.

    Args:
        workspace: the project.
        resume: only go on with an interrupted run, and refuse where there is none.
        progress: is told steps, losses and what was measured on held-out rows.

    Raises:
        DataError: there is no current dataset.
        GovernanceError: no approval covers exactly this run.
        TrainingError: the run cannot start or had to stop (NaN, no memory, no space); says at which step.
        KeyboardInterrupt: after the checkpoint is written.
    """
    permit(workspace.office, "run.start")
    with workspace.site.lock("train"):
        road = survey(workspace)
        base = require_base(workspace, road)
        dataset = require_dataset(road)
        approval = require_approval(workspace, road)
        inputs = run_inputs(workspace, base, dataset, road.start)
        with workspace.site.database.read() as c:
            unfinished = latest(c, Run, project=workspace.project.project, inputs_digest=inputs, status="running")
        if resume and unfinished is None:
            unfinished = gone_on_with(workspace, base=base.id, dataset=dataset.id, start=road.start)
        if resume and unfinished is None:
            raise nothing_to_resume(workspace, road)
        if road.run and road.run.adapter and not workspace.site.artifacts.check(road.run.adapter):
            with workspace.site.database.read() as c:
                adapter = get(c, Adapter, road.run.adapter)
            assert adapter is not None, "a finished run has its adapter in the same transaction"
            return TrainResult(run=road.run, adapter=adapter, resumed=False, reused=True)
        if road.start:
            keep(workspace, road.start)
        workspace.site.sweep_cache(_current_datasets(workspace))
        if unfinished:
            run = replace(
                unfinished,
                approval=approval.id if approval else None,
                config=workspace.project.training.canonical(),
                inputs_digest=inputs,
                status="running",
                finished_at=None,
            )
            progress.say(f"going on with {run.id}, which was interrupted{changed_text(unfinished, run)}")
        else:
            run = Run(
                id=new_id("run"),
                project=workspace.project.project,
                dataset=dataset.id,
                approval=approval.id if approval else None,
                base=base.id,
                config=workspace.project.training.canonical(),
                inputs_digest=inputs,
                seed=workspace.project.training.seed,
                status="running",
                started_at=now(),
                finished_at=None,
                figures={},
                curve=None,
                adapter=None,
                start=road.start,
            )
        with change(workspace.office, "run.start", run.id) as c:
            c.put(run)
            c.link(dataset, run)
            if run.start:
                c.link(Ref("adapter", run.start), run)
                c.note(start=run.start)
            c.note(inputs=inputs, scope=digest_of_scope(approval), resumed=unfinished is not None)
            if unfinished and unfinished.inputs_digest != inputs:
                c.note(inputs_before=unfinished.inputs_digest)
        figures = _follow(workspace, run, progress=progress)
        run, adapter = _take_in(workspace, run, base_id=base.id, figures=figures)
    return TrainResult(run=run, adapter=adapter, resumed=unfinished is not None, reused=False)


def gone_on_with(workspace: Workspace, *, base: str, dataset: str, start: str | None) -> Run | None:
    """The newest run that has a checkpoint, did not finish, and trains what the project asks for.

    Its settings may differ in what decides only how it is computed, such as ``window_tokens``; see ``config.HOW``.
    """
    with workspace.site.database.read() as c:
        runs = [latest(c, Run, project=workspace.project.project, status=status) for status in ("running", "failed")]
    wanted = (base, dataset, start, what_of(workspace.project.training.canonical()))
    found = [
        run
        for run in runs
        if run is not None
        and (run.base, run.dataset, run.start, what_of(run.config)) == wanted
        and any((workspace.site.run_folder(run.id) / "checkpoints").glob(f"{CHECKPOINT}*"))
    ]
    return max(found, key=lambda run: run.started_at, default=None)


def changed_text(before: Run, after: Run) -> str:
    """By which settings a run goes on that it did not begin with; empty where it has the same."""
    changed = [
        f"{name} {json.dumps(after.config[name])} in the place of {json.dumps(before.config[name])}"
        for name in HOW
        if name != "tracking" and before.config[name] != after.config[name]
    ]
    return f", with {', '.join(changed)}" if changed else ""


def _current_datasets(workspace: Workspace) -> set[str]:
    """Artefacts of the newest dataset of each project of the site."""
    with workspace.site.database.read() as c:
        datasets, _ = sift(c, Dataset)
    return set({dataset.project: dataset.tree for dataset in datasets}.values())


def nothing_to_resume(workspace: Workspace, road: Road) -> TrainingError:
    """Why ``resume`` finds no run, and what to do."""
    with workspace.site.database.read() as c:
        other = latest(c, Run, project=workspace.project.project, status="running")
    message, place = "no run of these data, base and settings was interrupted", ""
    if other is not None:
        message, place = f"{message}; {other.id} was, and it had other data, base or settings", other.id
    elif road.run is not None:
        message, place = f"{message}: {road.run.id} is finished", road.run.id
    cure = "leave out --resume to start" if road.run is None else "leave out --resume"
    return TrainingError(Fault("TW-TRAIN-040", message, place, cure))


def require_dataset(road: Road) -> Dataset:
    """The current dataset, or the error that says how to get it."""
    if road.dataset is None:
        change_of_inputs = "its inputs changed since; " if "prepare" in road.stale else ""
        raise DataError(
            Fault("TW-DATA-090", f"{change_of_inputs}there is no current dataset", "", "run `tuneward prepare`")
        )
    return road.dataset


def digest_of_scope(approval: Approval | None) -> str | None:
    """What the log keeps of the permission under which a run starts."""
    return approval.scope_digest if approval else None


def require_approval(workspace: Workspace, road: Road) -> Approval | None:
    """The approval that covers the project as it stands, or the error that says how to get it."""
    if road.approval or not workspace.office.policy.approval_required:
        return road.approval
    if road.requested:
        message, cure = f"{road.requested.id} waits for its decision", decide(road.requested)
        raise GovernanceError(Fault("TW-GOV-090", message, road.requested.id, f"an approver runs `{cure}`"))
    scope = approval_scope(workspace, require_base(workspace, road), require_dataset(road), road.start)
    stale = " An earlier approval was for other data or settings." if "approve" in road.stale else ""
    raise GovernanceError(
        Fault(
            "TW-GOV-090",
            f"no granted approval covers this run of {scope['project']!r}.{stale}",
            f"policy {workspace.office.policy.name}",
            f"run `{ASK}`, then have it granted",
        )
    )


def _follow(workspace: Workspace, run: Run, *, progress: Progress) -> Mapping[str, Any]:
    """Run the training process and pass on what it says; returns its final figures."""
    log = workspace.site.run_folder(run.id) / "process.log"
    site = {"TUNEWARD_SITE": str(workspace.site.folder)}
    progress.say("loading the base and passing the largest windows once")
    ended = follow("tuneward.training", [run.id], log=log, hear=lambda event: _show(event, progress), environment=site)
    progress.end()
    if ended.figures is not None:
        return ended.figures
    faults = ended.faults or (
        Fault(
            "TW-TRAIN-020",
            f"the training process ended with status {ended.code}",
            str(log),
            "read that log; `tuneward train` goes on from the last checkpoint",
        ),
    )
    if ended.code > 0 and not all(fault.code in GOES_ON for fault in faults):
        with change(workspace.office, "run.fail", run.id) as c:
            c.put(replace(run, status="failed", finished_at=now()))
            c.note(faults=[fault.code for fault in faults])
    raise TrainingError(faults)


def _show(event: Mapping[str, Any], progress: Progress) -> None:
    if event["event"] == "plan":
        progress.say(plan_text(event))
        progress.say(memory_text(event))
        progress.begin("training", total=event["steps"], unit="steps")
    elif event["event"] == "estimate":
        progress.say(estimate_text(event))
    elif event["event"] == "note":
        progress.say(event["text"])
    elif event["event"] == "resumed":
        progress.advance(event["step"])
    elif event["event"] == "step":
        progress.advance(
            1,
            loss=event["loss"],
            tokens_per_second=event["tokens_per_second"],
            remaining_seconds=event["remaining_seconds"],
        )
    elif event["event"] == "validation":
        progress.say(measured_text(event))
    elif event["event"] == "warning":
        progress.say(event["text"])


def measured_text(event: Mapping[str, Any]) -> str:
    """A measurement of the held-out rows in one line."""
    when = f"after step {event['step']}" if event["step"] else "before the first step"
    figures = "".join(f", {name.replace('_', ' ')} {value:.3f}" for name, value in event["figures"].items())
    how = (
        ", the best so far" if event["best"] else f", {event['misses']} without improvement" if event["misses"] else ""
    )
    end = "; training ends early" if event["ended"] else ""
    return f"{when}: held-out loss {event['loss']:.3f}{figures}{how}{end}"


def _take_in(workspace: Workspace, run: Run, *, base_id: str, figures: Mapping[str, Any]) -> tuple[Run, Adapter]:
    """Store adapter and curve by digest and commit the finished run."""
    folder = workspace.site.run_folder(run.id)
    artifacts, kind = workspace.site.artifacts, trained_kind(run.config["adapter"])
    adapter_id = artifacts.put_tree(folder / "adapter")
    finished = replace(
        run,
        status="finished",
        finished_at=now(),
        figures=figures,
        curve=_store_curve(workspace, folder),
        adapter=adapter_id,
    )
    adapter = Adapter(
        id=adapter_id,
        run=run.id,
        base=base_id,
        rank=0 if kind == "full" else run.config["adapter"]["rank"],
        alpha=0.0 if kind == "full" else run.config["adapter"]["alpha"],
        parameters=figures["trained_parameters"],
        created_at=now(),
        kind=kind,
    )
    with change(workspace.office, "run.finish", run.id) as c:
        c.put(finished)
        first = get(c.connection, Adapter, adapter_id)
        if first is None:
            c.put(adapter)
        else:  # the same bits again, for a lost file or a setting that moves none: what names the first stays true
            adapter = first
        c.link(finished, adapter)
        c.note(adapter=adapter_id, curve=finished.curve)
    return finished, adapter


def _store_curve(workspace: Workspace, folder: Path) -> str:
    """The loss curve as numbers (``curve.jsonl``) and as a picture (``loss.svg``), as one artefact."""
    with workspace.site.scratch() as scratch:
        for name in ("curve.jsonl", "loss.svg"):
            shutil.copyfile(folder / name, scratch / name)
        return workspace.site.artifacts.put_tree(scratch)
