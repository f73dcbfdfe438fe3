"""The training process: ``python -m tuneward.training RUN_ID``.

Place on the road: started by ``workflows.train`` (later by a queue) for one run. Looks the run up in the site that
``TUNEWARD_SITE`` names, makes a Job of it, and prints one JSON object per line on stdout:

``plan``, ``note``, ``resumed``, ``step``, ``checkpoint``, ``stopped``, ``done`` (with figures), ``error`` (with
faults).

Where several processes shall train the run, this one starts them (``ranks``) and ends as they do; started by it or by
torchrun, it is one of them. SIGINT and SIGTERM stop it at a checkpoint with exit code 130; it does the same when the
process that started it ends.
Writes nothing but the run's folder: rows of the database are the starter's to write.
"""

import fcntl
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tuneward.configuration import validate
from tuneward.errors import Fault, StorageError, TrainingError, TunewardError
from tuneward.modeling.worker import STOPPED, Stop, line_writer
from tuneward.settings import Settings, silence
from tuneward.storage.files import fault_of

#: Seconds in which a process of a group learns whether it failed only because another had failed before.
BLAME_SECONDS = 10.0


def main(arguments: list[str]) -> int:
    """Train one run; returns the exit code."""
    stop = Stop()
    stop.watch()
    output = sys.stdout
    sys.stdout = sys.stderr  # nothing that a library prints may stand between our lines

    emit = line_writer(output, stop)
    try:
        return _train(arguments, emit, stop)
    except Exception as error:
        return report(error, emit, stop)


def report(error: Exception, emit: Callable[[dict[str, Any]], None], stop: Stop) -> int:
    """Say why the process ends, in our words; returns the exit code.

    Of a group one process says it: rank 0 if the fault is its own; another, or one whose connection broke, only where
    it is not ended within moments because somebody else failed first.
    """
    if isinstance(error, TunewardError):
        known = error
    elif isinstance(error, OSError):  # a full disk; the newest checkpoint stands
        known = StorageError(fault_of(error))
    else:  # the parent must learn of it in its own words
        traceback.print_exc()
        told = f"{type(error).__name__} (see the run's log)"
        known = TrainingError(Fault("TW-TRAIN-012", told, "tuneward.training", "run it again"))
    surely = isinstance(error, (TunewardError, OSError)) and int(os.environ.get("RANK", "0")) == 0
    if surely or not started_in_group() or not stop.within(BLAME_SECONDS):
        emit({"event": "error", "faults": [fault.to_json() for fault in known.faults]})
    return known.exit_code


def started_in_group() -> bool:
    """Whether this process is one of several that train a run together."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def _train(arguments: list[str], emit: Callable[[dict[str, Any]], None], stop: Stop) -> int:
    settings = Settings.from_environment()
    if len(arguments) != 1 or settings.site is None:
        raise TrainingError(
            Fault(
                "TW-TRAIN-010",
                "one run id as argument and the site in TUNEWARD_SITE are needed",
                "python -m tuneward.training",
                "use `tuneward train`, which calls it rightly",
            )
        )
    job, folder = find_job(settings.site, arguments[0])
    if not started_in_group():
        from tuneward.training.ranks import processes_of, run_ranks

        if (count := processes_of(job.config)) > 1:
            command = [sys.executable, "-m", "tuneward.training", *arguments]
            return run_ranks(command, count=count, folder=job.folder, stop=stop)
    # torch takes seconds to load: what can be refused without it has been refused by now
    from tuneward.modeling.chat import Chat
    from tuneward.modeling.machine import choose_device
    from tuneward.training.distributed import join
    from tuneward.training.job import train

    device = choose_device(job.config.device)
    first = not started_in_group() or int(os.environ["RANK"]) == 0
    with alone_in(job.folder, stop) if first else nullcontext(True) as held:
        if not held:
            return STOPPED
        with join(device) as group:
            outcome = train(job, Chat.load(folder), emit=emit, stop=stop, device=device, group=group)
    if not first:
        return STOPPED if outcome.status == "stopped" else 0
    if outcome.status == "stopped":
        emit({"event": "stopped"})
        return STOPPED
    emit(
        {
            "event": "done",
            "figures": outcome.figures,
            "adapter": outcome.adapter.name,
            "curve": outcome.curve.name,
            "picture": outcome.picture.name,
        }
    )
    return 0


@contextmanager
def alone_in(folder: Path, stop: Stop) -> Iterator[bool]:
    """Hold a run's folder; wait for a process that still trains in it, as one does whose starter was killed.

    Yields:
        True once held, False when the run was stopped while waiting.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as handle:
        while not stop():
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.1)
            else:
                yield True
                return
        yield False


def find_job(site_folder: Path, run_id: str) -> tuple[Any, Path]:
    """The job of a run in a site, and the folder of its base.

    Raises:
        TunewardError: no such site or run, or its dataset or base is not in the artefact store.
    """
    from tuneward.digests import digest_value
    from tuneward.domain.dataset import Dataset
    from tuneward.domain.run import Run
    from tuneward.storage import repository
    from tuneward.storage.site import Site
    from tuneward.training.config import TrainingConfig, what_of
    from tuneward.training.job import Job

    site = Site.open(site_folder)
    with site.database.read() as connection:
        run = repository.get(connection, Run, run_id)
        dataset = None if run is None else repository.get(connection, Dataset, run.dataset)
    if run is None or dataset is None:
        raise TrainingError(Fault("TW-TRAIN-010", "the site knows no such run", run_id, "see `tuneward status`"))
    base = site.artifacts.tree(run.base)
    job = Job(
        rows=site.artifacts.tree(dataset.tree) / "train.jsonl",
        base=base,
        base_name=run.base,
        config=validate(run.config, TrainingConfig),
        folder=site.run_folder(run.id),
        inputs_digest=digest_value(
            {"dataset": run.dataset, "base": run.base, "start": run.start, "training": what_of(run.config)}
        ),
        start=site.artifacts.tree(run.start) if run.start else None,
        start_name=run.start,
        held_out=site.artifacts.tree(dataset.tree) / "test.jsonl",
        cache=site.cache_folder(dataset.tree),
    )
    return job, base


def leave(code: int) -> None:
    """End with an exit code, or as the process did that a signal killed."""
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    silence()
    leave(main(sys.argv[1:]))
