"""A rehearsal: everything that a run does before its first step, and a few windows for the clock; nothing is trained.

Place on the road: what ``tuneward train --plan`` starts as ``python -m tuneward.training.rehearsal FILE``, with a job
as JSON in the file. It plans for one process. Leaves no checkpoint, no adapter and no row of the database.
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
from tuneward.training.__main__ import leave, report
from tuneward.training.allocator import keep_freed_memory
from tuneward.training.checkpoint import Checkpoints
from tuneward.training.config import TrainingConfig
from tuneward.training.estimate import rehearse
from tuneward.training.job import Chat, Job, Prepared, prepare
from tuneward.training.loop import Loop
from tuneward.training.plan import available_bytes

#: What of a job is a path.
PATHS = ("rows", "base", "folder", "start", "held_out", "cache")


def plan_only(job: Job, chat: Chat, *, device: str = "cpu") -> dict[str, Any]:
    """The plan of a job with its estimate, as JSON.

    Args:
        job: what would be trained on what; its folder receives tokenised rows where it has no cache.
        chat: tokenizer and template of the job's base.
        device: ``cpu`` or ``cuda``.

    Raises:
        TunewardError: see :func:`tuneward.training.job.prepare`.
    """
    keep_freed_memory()
    torch.set_num_threads(threads())
    torch.manual_seed(job.config.seed)
    ready = prepare(job, chat, device=device)
    available = available_bytes(device=device)
    estimate = rehearse(loop_of(ready, job))
    return {**ready.plan.to_json(), "available_bytes": available, "estimate": estimate.to_json()}


def loop_of(ready: Prepared, job: Job) -> Loop:
    """The loop that would train what is ready."""
    return Loop(
        ready.model,
        ready.trainable,
        ready.objective,
        rows=ready.rows,
        steps=ready.steps,
        config=job.config,
        checkpoints=Checkpoints(job.folder / "checkpoints", job.inputs_digest),
        emit=lambda event: None,
        stop=lambda: False,
        states=ready.states,
    )


def main(arguments: list[str]) -> int:
    """Plan the job that a file describes; prints one ``plan`` event and ``done``. Returns the exit code."""
    stop = Stop(at_once=lambda: os._exit(STOPPED))
    stop.watch()
    output, sys.stdout = sys.stdout, sys.stderr
    emit = line_writer(output, stop)
    try:
        described = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        paths = {name: Path(described[name]) if described[name] else None for name in PATHS}
        job = Job(**{**described, **paths, "config": validate(described["config"], TrainingConfig)})
        plan = plan_only(job, BaseChat.load(job.base), device=choose_device(job.config.device))
    except Exception as error:
        return report(error, emit, stop)
    emit({"event": "plan", **plan})
    emit({"event": "done", "figures": plan})
    return 0


if __name__ == "__main__":
    silence()
    leave(main(sys.argv[1:]))
