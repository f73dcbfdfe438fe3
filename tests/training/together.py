"""Several runs by one group of processes: ``python -m tests.training.together SPEC``, started once for each rank.

SPEC is a file: a JSON list of ``{"base": …, "rows": …, "folder": …, "config": …}``. One start of two processes serves
many tests.
"""

import json
import sys
from pathlib import Path

from tests.training.rows import PlainChat
from tuneward.errors import TrainingError
from tuneward.training.config import TrainingConfig
from tuneward.training.distributed import join
from tuneward.training.job import Job, train


def main(spec: Path) -> None:
    with join("cpu") as group:
        for run in json.loads(spec.read_text()):
            folder = Path(run["folder"])
            rows, config = Path(run["rows"]), TrainingConfig(**run["config"])
            job = Job(rows, Path(run["base"]), "tiny", config, folder, "inputs", held_out=rows)
            events: list[object] = []
            faults, figures = [], {}
            try:
                figures = train(job, PlainChat(job.base), emit=events.append, group=group).figures
            except TrainingError as error:
                faults = [fault.to_json() for fault in error.faults]
            told = {"events": events, "figures": figures, "faults": faults}
            (folder / f"told{group.rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
