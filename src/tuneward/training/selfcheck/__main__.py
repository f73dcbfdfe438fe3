"""The self-check's process: ``python -m tuneward.training.selfcheck --base FOLDER --scratch FOLDER``.

Place on the road: started by ``workflows/selfcheck``. Prints one JSON object per line on stdout: ``begin`` (statements,
rows), ``line`` for each statement, ``done``, ``error`` (with faults). Writes into the scratch folder only, which is
empty at the start and the starter's to remove. Ends at once on a signal or with its parent. Knows no site.
"""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

from tuneward.configuration import validate
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.worker import STOPPED, Emit, Stop, line_writer
from tuneward.settings import silence
from tuneward.training.__main__ import report


def main(arguments: list[str]) -> int:
    """Check one base; returns the exit code, which is 0 also where a statement does not hold: its line says so."""
    stop = Stop(at_once=lambda: os._exit(STOPPED))
    stop.watch()
    output = sys.stdout
    sys.stdout = sys.stderr  # nothing that a library prints may stand between our lines
    emit = line_writer(output, stop)
    try:
        emit({"event": "done", "figures": _check(_options(arguments), emit)})
    except Exception as error:
        return report(error, emit, stop)
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tuneward.training.selfcheck", allow_abbrev=False)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--adapter", default='{"rank": 8, "alpha": 16}')
    return parser.parse_args(arguments)


def _check(options: argparse.Namespace, emit: Emit) -> dict[str, Any]:
    from tuneward.training.selfcheck.sample import draw

    sample = draw(options.rows)
    adapter = validate(json.loads(options.adapter), AdapterConfig)
    # torch takes seconds to load: what can be refused without it has been refused by now
    import torch

    from tuneward.modeling.folder_check import check_folder
    from tuneward.modeling.machine import threads
    from tuneward.training.selfcheck.statements import STATEMENTS, lines
    from tuneward.training.selfcheck.subject import Subject

    torch.set_num_threads(threads())
    check_folder(options.base)
    rows = list(sample.own) or [record.id for record in sample.records]
    emit({"event": "begin", "statements": len(STATEMENTS)})
    for line in lines(Subject(options.base, sample, adapter, options.scratch)):
        emit({"event": "line", **dataclasses.asdict(line)})
    return {"rows": rows, "threads": torch.get_num_threads()}


if __name__ == "__main__":
    silence()
    sys.exit(main(sys.argv[1:]))
