"""Step 4, beforehand: what a run would train, take and cost; nothing is trained, and nobody needs to approve it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuneward.errors import Fault, TrainingError
from tuneward.progress import SILENT, Progress
from tuneward.workflows.child import follow
from tuneward.workflows.prepare import require_base
from tuneward.workflows.road import run_inputs, survey
from tuneward.workflows.train import require_dataset
from tuneward.workflows.workspace import Workspace


@dataclass(frozen=True)
class PlanResult:
    """What a run would take.

    Attributes:
        plan: counts, memory by part in bytes, predicted peak, what is free, and the estimate of time and energy.
        load: the machine's load average over a minute before anything was measured, where it lay above the cores that
            this process may use: then the time was measured beside other work. None where it did not, or is not known.
        cores: that this process may use.
        next: the command that comes next.
    """

    plan: Mapping[str, Any]
    load: float | None = None
    cores: int = 0
    next: str = "tuneward train"


def plan(workspace: Workspace, *, progress: Progress = SILENT) -> PlanResult:
    """Plan the run that ``train`` would start, in a process of its own; leaves no trace in the site's records.

    Args:
        workspace: the project.
        progress: is told that it takes a moment.

    Raises:
        DataError: there is no current dataset.
        TrainingError: the run cannot fit or start; names the nearest settings that would fit.
        KeyboardInterrupt: after the process has ended.
    """
    road = survey(workspace)
    base, dataset = require_base(workspace, road), require_dataset(road)
    artifacts = workspace.site.artifacts
    rows = artifacts.tree(dataset.tree)
    cores = _cores()
    load = _load_above(cores)
    with workspace.site.scratch() as scratch:
        job = {
            "rows": str(rows / "train.jsonl"),
            "base": str(artifacts.tree(base.id)),
            "base_name": base.id,
            "config": workspace.project.training.canonical(),
            "folder": str(scratch),
            "inputs_digest": run_inputs(workspace, base, dataset, road.start),
            "start": str(artifacts.tree(road.start)) if road.start else None,
            "start_name": road.start,
            "held_out": str(rows / "test.jsonl"),
            "cache": str(workspace.site.cache_folder(dataset.tree)),
        }
        file, log = scratch / "job.json", scratch / "process.log"
        file.write_text(json.dumps(job), encoding="utf-8")
        progress.say("loading the base and passing a few windows; nothing is trained")
        ended = follow("tuneward.training.rehearsal", [str(file)], log=log, hear=lambda event: None)
        if ended.figures is None:
            told = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or ["no word"]
            failed = Fault("TW-TRAIN-020", f"planning ended with status {ended.code}: {told[0]}", "", "run it again")
            raise TrainingError(ended.faults or failed)
    return PlanResult(ended.figures, load=load, cores=cores)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _load_above(cores: int) -> float | None:
    """How many processes wanted a core over the last minute, if more than there are cores; asked before we want one."""
    try:
        load = os.getloadavg()[0]
    except OSError:
        return None
    return round(load, 1) if load > cores else None
