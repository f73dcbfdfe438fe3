"""A child process of ours that computes: started, heard line by line, and ended with us.

Place on the road: the parent's side of ``train`` and ``export``; ``modeling/worker`` is the child's. Knows no event but
``done`` and ``error``.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneward.errors import Fault
from tuneward.modeling.machine import computing, with_jemalloc
from tuneward.modeling.worker import STOPPED

#: What torchrun or a cluster tells the processes of a job of several. Ours is no part of that job: how many train
#: together is for the settings to say, and their starter tells each of them.
FOREIGN = frozenset({"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TUNEWARD_MEETING_FILE"})


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        code: its exit status, negative for a signal.
        figures: what it said at the end, or None.
        faults: what it told of in place of figures.
    """

    code: int
    figures: Mapping[str, Any] | None
    faults: tuple[Fault, ...]


def follow(
    module: str,
    arguments: Sequence[str],
    *,
    log: Path,
    hear: Callable[[Mapping[str, Any]], None],
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run ``python -m module`` to its end.

    Args:
        module: a worker's module.
        arguments: its arguments.
        log: receives what it prints on stderr; appended to.
        hear: called with every event but the last.
        environment: variables beside ours, of which those of a group of processes are left out.

    Raises:
        KeyboardInterrupt: it was stopped; it has ended then, as it has whenever this function is left.
    """
    figures: Mapping[str, Any] | None = None
    faults: tuple[Fault, ...] = ()
    ours = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    with (
        log.open("ab") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**with_jemalloc(computing(ours)), **(environment or {})},
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                event = json.loads(line)
                if event["event"] == "done":
                    figures = event["figures"]
                elif event["event"] == "error":  # of several processes the first to fail knows why
                    faults = faults or tuple(Fault(**fault) for fault in event["faults"])
                else:
                    hear(event)
            process.wait()
        except BaseException:
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
    if process.returncode == STOPPED:
        raise KeyboardInterrupt
    return Ended(process.returncode, figures if process.returncode == 0 else None, faults)
