"""``prepare`` that kills itself: ``python -m tests.journey.killed_prepare FOLDER WHERE TIMES``.

``WHERE`` is ``module:name`` or ``module:Class.name`` of a function of ours; when it is called the ``TIMES``th time, the
process ends by SIGKILL, before the function does anything. Inspection and measuring go to two processes from the
first row on.
"""

import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from tuneward.data import inspecting, measuring
from tuneward.governance import entering
from tuneward.workflows.prepare import prepare
from tuneward.workflows.workspace import open_workspace


def _kill_at(where: str, times: int) -> None:
    module, _, path = where.partition(":")
    *outer, name = path.split(".")
    owner: Any = import_module(module)
    for part in outer:
        owner = getattr(owner, part)
    wrapped, called = getattr(owner, name), 0

    def counted(*arguments: Any, **settings: Any) -> Any:
        nonlocal called
        called += 1
        if called == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return wrapped(*arguments, **settings)

    setattr(owner, name, counted)


if __name__ == "__main__":
    inspecting._TEXTS_ALONE = measuring._ROWS_ALONE = 0  # type: ignore[misc]
    entering.ROWS_AT_ONCE = 500  # type: ignore[misc]
    _kill_at(sys.argv[2], int(sys.argv[3]))
    prepare(open_workspace(Path(sys.argv[1]), actor="ada"), workers=2)
