"""The export process: ``python -m tuneward.modeling.export``: base and adapter become one copy, which is then measured.

Place on the road: started by ``workflows/export`` with an empty folder; writes the copy into it and prints one JSON
object per line on stdout: ``begin`` (title, total), ``advance``, ``say``, ``end``, ``done`` (with figures), ``error``
(with faults). Ends at once on a signal or with its parent; what it has written then is the starter's to remove. Knows
no site and gives no verdict.
"""

import argparse
import dataclasses
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from tuneward.errors import Fault, ModelError, StorageError, TunewardError
from tuneward.modeling.worker import STOPPED, Emit, Stop, line_writer
from tuneward.settings import silence
from tuneward.storage.files import fault_of

GGUF_FILE = "model.gguf"
LLAMA_CPP, READ_BACK, TRANSFORMERS = "llama.cpp", "transformers, from the file's dequantised weights", "transformers"


def main(arguments: list[str]) -> int:
    """Make one copy; returns the exit code."""
    stop = Stop(at_once=lambda: os._exit(STOPPED))
    stop.watch()
    output = sys.stdout
    sys.stdout = sys.stderr  # nothing that a library prints may stand between our lines
    emit = line_writer(output, stop)
    try:
        emit({"event": "done", "figures": _export(_options(arguments), emit)})
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
        fault = Fault(
            "TW-REG-013", f"{type(error).__name__} (see the export's log)", "tuneward.modeling.export", "run it again"
        )
        emit({"event": "error", "faults": [fault.to_json()]})
        return ModelError.exit_code


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tuneward.modeling.export", allow_abbrev=False)
    for name in ("base", "adapter", "rows", "into", "scratch"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--format", choices=("safetensors", "gguf"), required=True)
    parser.add_argument("--type", choices=("bf16", "f16", "q8_0"))
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    parser.add_argument("--most-rows", type=int, required=True)
    parser.add_argument("--most-tokens", type=int, required=True)
    parser.add_argument("--name", default="")
    parser.add_argument("--licence", default="")
    return parser.parse_args(arguments)


def _export(options: argparse.Namespace, emit: Emit) -> dict[str, Any]:
    import torch

    from tuneward.modeling.adapter_files import load_adapter
    from tuneward.modeling.agreement import HeldOut, compare, held_out, keep_reference, through_transformers
    from tuneward.modeling.base_model import best_precision
    from tuneward.modeling.chat import Chat
    from tuneward.modeling.context import longest_row
    from tuneward.modeling.gguf_file import write_gguf
    from tuneward.modeling.machine import choose_device, threads
    from tuneward.modeling.merge import Merged

    torch.set_num_threads(threads())
    device = choose_device("auto")
    precision = best_precision(device) if options.precision == "auto" else options.precision
    full = (options.adapter / "config.json").is_file()  # every weight was trained: there is nothing to merge
    weights = None if full else load_adapter(options.adapter)
    model = options.adapter if full else options.base
    merged = Merged(model, weights, beside=options.base)
    emit({"event": "say", "text": f"writing {options.format}"})
    context = longest_row(merged.config.get("text_config") or merged.config)
    if options.format == "gguf":
        file = options.into / GGUF_FILE
        context = write_gguf(merged, file, options.type, name=options.name, licence=options.licence)
    else:
        merged.save(options.into, kept=options.type)

    rows: list[HeldOut] = held_out(
        options.rows, Chat.load(options.base), rows=options.most_rows, tokens=options.most_tokens, context=context
    )
    if not rows:
        cure = "name test rows in `data.test` and prepare again, or raise the limits of `export`"
        message = f"no held-out row with an answer fits into {context:,} tokens"
        raise ModelError(Fault("TW-REG-011", message, "data.test", cure))

    def told(done: int) -> None:
        emit({"event": "advance", "amount": done})

    emit({"event": "begin", "title": "asking base and adapter", "total": len(rows), "unit": "rows"})
    reference = options.scratch / "reference"
    keep_reference(model, weights, rows, reference, precision=precision, device=device, told=told)
    emit({"event": "end"})
    emit({"event": "begin", "title": "asking the copy", "total": len(rows), "unit": "rows"})
    read_alike: int | None = None
    if options.format == "safetensors":
        reader = TRANSFORMERS
        said = through_transformers(options.into, rows, precision=precision, device=device)
    else:
        reader, said, read_alike = _gguf_says(options, model, rows, context=context, precision=precision, device=device)
    figures = compare(rows, reference, said, told=told)
    emit({"event": "end"})
    reference.unlink()
    return {
        **dataclasses.asdict(figures),
        "reader": reader,
        "precision": precision,
        "context_tokens": context,
        "rows_read_alike": read_alike,
    }


def _gguf_says(
    options: argparse.Namespace, model: Path, rows: list[Any], *, context: int, precision: Any, device: str
) -> tuple[str, Any, int | None]:
    """Who reads the file, what it says, and how many rows it cuts into our tokens where that can be told."""
    from tuneward.modeling import llama_cpp
    from tuneward.modeling.agreement import through_transformers
    from tuneward.modeling.gguf_file import read_back

    file = options.into / GGUF_FILE
    if llama_cpp.installed():
        longest = max(len(row.ids) for row in rows)
        reader = llama_cpp.LlamaCpp(file, context=min(longest + 1, context))
        return LLAMA_CPP, reader.said(rows), sum(reader.reads(row.text) == list(row.ids) for row in rows)
    back = options.scratch / "back"
    back.mkdir()
    read_back(file, model, back)
    return READ_BACK, through_transformers(back, rows, precision=precision, device=device), None


if __name__ == "__main__":
    silence()
    sys.exit(main(sys.argv[1:]))
