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
import traceback
from pathlib import Path
from typing import Any

from tuneward.configuration import validate
from tuneward.errors import Fault, StorageError, TrainingError, TunewardError
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.worker import STOPPED, Emit, Stop, line_writer
from tuneward.settings import silence
from tuneward.storage.files import fault_of


def main(arguments: list[str]) -> int:
    """Check one base; returns the exit code, which is 0 also where a statement does not hold: its line says so."""
    stop = Stop(at_once=lambda: os._exit(STOPPED))
    stop.watch()
    output = sys.stdout
    sys.stdout = sys.stderr  # nothing that a library prints may stand between our lines
    emit = line_writer(output, stop)
    try:
        emit({"event": "done", "figures": _check(_options(arguments), emit)})
        return 0
    except TunewardError as error:
        emit({"event": "error", "faults": [fault.to_json() for fault in error.faults]})
        return error.exit_code
    except OSError as error:  # a full disk
        storage = StorageError(fault_of(error))
        emit({"event": "error", "faults": [fault.to_json() for fault in storage.faults]})
        return storage.exit_code
    except Exception as error:  # the parent must learn of it in its own words
        traceback.print_exc()
        told, cure = f"{type(error).__name__} (see the self-check's log)", "run it again"
        fault = Fault("TW-TRAIN-012", told, "tuneward.training.selfcheck", cure)
        emit({"event": "error", "faults": [fault.to_json()]})
        return TrainingError.exit_code


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
