"""Worker: a process that inspects texts for another one: ``python -m tuneward.inspection.worker``.

Place on the road: the child's side of ``inspection.workers``. Reads lines of JSON and answers each: first the settings
and the folder that they start from, then lists of texts. Ends with its input, so that it does not outlive whoever
started it, and leaves Ctrl-C to that process. Texts are answered with findings and written nowhere.
"""

import json
import signal
import sys
from dataclasses import astuple
from pathlib import Path
from typing import Any, TextIO

from tuneward.inspection.config import InspectionConfig
from tuneward.inspection.inspector import make_inspector


def serve(asked: TextIO, answers: TextIO) -> None:
    """Answer every line of ``asked`` until it ends."""
    begun = json.loads(next(asked))
    inspector = make_inspector(InspectionConfig.model_validate(begun["settings"]), folder=Path(begun["folder"]))
    for line in asked:
        texts: list[str] = json.loads(line)
        found: list[list[tuple[Any, ...]]] = [[astuple(f) for f in inspector.inspect(text)] for text in texts]
        answers.write(json.dumps(found) + "\n")
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(sys.stdin, sys.stdout)
