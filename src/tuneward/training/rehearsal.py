"""A rehearsal: everything that a run does before its first step, and a few windows for the clock; nothing is trained.

Place on the road: what ``tuneward train --plan`` starts as ``python -m tuneward.training.rehearsal FILE``, with a job
as JSON in the file. A run of several processes is rehearsed by as many. Leaves no checkpoint, no adapter and no row of
the database.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from tuneward.configuration import validate
from tuneward.modeling.chat import Chat as BaseChat
from tuneward.modeling.machine import choose_device, threads
from tuneward.modeling.worker import STOPPED, Stop, line_writer
from tuneward.settings import silence
from tuneward.training.__main__ import leave, report, started_in_group
from tuneward.training.allocator import keep_freed_memory
from tuneward.training.config import TrainingConfig
from tuneward.training.distributed import ALONE, Group, join
from tuneward.training.estimate import rehearse
from tuneward.training.job import Chat, Job, prepare
from tuneward.training.plan import available_bytes
from tuneward.training.ranks import processes_of, run_ranks

#: What of a job is a path.
PATHS = ("rows", "base", "folder", "start", "held_out", "cache")


def plan_only(job: Job, chat: Chat, *, device: str = "cpu", group: Group = ALONE) -> dict[str, Any]:
    """The plan of a job with its estimate, as JSON.

    Args:
        job: what would be trained on what; its folder receives tokenised rows where it has no cache.
        chat: tokenizer and template of the job's base.
        device: ``cpu`` or ``cuda``.
        group: the processes that would train together; each of them calls this function.

    Raises:
        TunewardError: see :func:`tuneward.training.job.prepare`.
    """
    keep_freed_memory()
    torch.set_num_threads(threads())
    torch.manual_seed(job.config.seed)
    ready = prepare(job, chat, device=device, group=group)
    available = available_bytes(group.size, device)
    estimate = rehearse(ready.loop(job, group))
    return {**ready.plan.to_json(), "available_bytes": available, "estimate": estimate.to_json()}


def main(arguments: list[str]) -> int:
    """Plan the job that a file describes; prints one ``plan`` event and ``done``. Returns the exit code."""
    stop = Stop(at_once=lambda: os._exit(STOPPED))
    output, sys.stdout = sys.stdout, sys.stderr
    emit = line_writer(output, stop)
    try:
        described = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        paths = {name: Path(described[name]) if described[name] else None for name in PATHS}
        job = Job(**{**described, **paths, "config": validate(described["config"], TrainingConfig)})
        if not started_in_group() and (count := processes_of(job.config)) > 1:
            asked = Stop()
            asked.watch()
            command = [sys.executable, "-m", "tuneward.training.rehearsal", *arguments]
            return run_ranks(command, count=count, folder=job.folder, stop=asked)
        stop.watch()
        device = choose_device(job.config.device)
        with join(device) as group:
            plan = plan_only(job, BaseChat.load(job.base), device=device, group=group)
    except Exception as error:
        return report(error, emit, stop)
    if group.rank:
        return 0
    emit({"event": "plan", **plan})
    emit({"event": "done", "figures": plan})
    return 0


if __name__ == "__main__":
    silence()
    leave(main(sys.argv[1:]))
