"""The starter of ``tests.training.runs`` as a group, light as ours: ``python -m tests.training.lead COUNT BASE …``."""

import sys
from pathlib import Path

from tuneward.training.__main__ import Stop, leave
from tuneward.training.ranks import run_ranks

if __name__ == "__main__":
    stop = Stop()
    stop.watch()
    command = [sys.executable, "-m", "tests.training.runs", *sys.argv[2:]]
    leave(run_ranks(command, count=int(sys.argv[1]), folder=Path(sys.argv[4]), stop=stop))
