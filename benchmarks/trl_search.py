"""The search for TRL's best on a CPU: one configuration after another, each a process of its own, over the same rows.

What is compared with TRL must be compared with the best that it can do here. Prints a line per configuration: real
tokens (or pairs) per second of the clock and of the processor, and peak memory. On a machine that is not quiet, ask for
one thread (OMP_NUM_THREADS=1) and read the processor's seconds.

    python -m benchmarks.trl_search BASE_FOLDER [--method sft|dpo] [--turns 3] [--only WORD …]
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.conversations import read_conversations, source
from benchmarks.courses import Course, Setting, plan_course
from benchmarks.ours import write_start
from benchmarks.theirs import trl
from benchmarks.turns import Table, gib
from tuneward.modeling.machine import threads

STEP_ROWS = 16
PLAIN = {"gradient_checkpointing": False}
DEFAULTS = Setting("defaults", batch=8, dtype="float32")
GROUPED = Setting("grouped", batch=4, grouped=True, arguments=PLAIN)
PACKED = Setting("packed", batch=1, packed=1024, arguments=PLAIN)


def _named(base: Setting, name: str, **changes: Any) -> Setting:
    arguments = {**base.arguments, **changes.pop("arguments", {})}
    return replace(base, name=name, arguments=arguments, **changes)


SFT = [
    DEFAULTS,
    _named(DEFAULTS, "defaults, weights in bf16", dtype="bfloat16"),
    _named(DEFAULTS, "defaults, weights in bf16, no checkpointing", dtype="bfloat16", arguments=PLAIN),
    *(_named(GROUPED, f"grouped, batch {size}", batch=size) for size in (1, 2, 4, 8, 16)),
    *(_named(GROUPED, f"grouped, batch {size}, eager", batch=size, attention="eager") for size in (1, 2, 4)),
    _named(GROUPED, "grouped, batch 4, weights in fp32", dtype="float32"),
    _named(GROUPED, "grouped, batch 4, checkpointing", arguments={"gradient_checkpointing": True}),
    _named(GROUPED, "grouped, batch 4, no autocast", arguments={"bf16": False}),
    _named(GROUPED, "grouped, batch 4, torch_compile", arguments={"torch_compile": True}),
    _named(GROUPED, "grouped, batch 4, optim adamw_torch", arguments={"optim": "adamw_torch"}),
    *(_named(PACKED, f"packed into {tokens}", packed=tokens) for tokens in (512, 1024, 2048)),
    _named(PACKED, "packed into 1024, eager", attention="eager"),
    _named(PACKED, "packed into 1024, checkpointing", arguments={"gradient_checkpointing": True}),
    _named(GROUPED, "padding-free, batch 4", arguments={"padding_free": True, "max_length": None}),
]
DPO = [
    DEFAULTS,
    *(_named(GROUPED, f"batch {size}", batch=size, grouped=False) for size in (1, 2, 4)),
    *(_named(GROUPED, f"batch {size}, eager", batch=size, grouped=False, attention="eager") for size in (1, 2, 4)),
    *(_named(GROUPED, f"sorted by length, batch {size}, eager", batch=size, attention="eager") for size in (2, 4)),
    _named(
        GROUPED,
        "batch 1, eager, reference beforehand and not counted",
        batch=1,
        grouped=False,
        attention="eager",
        arguments={"precompute_ref_log_probs": True, "precompute_ref_batch_size": 4},
    ),
]


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, help="folder of the base model")
    parser.add_argument("--method", choices=("sft", "dpo"), default="sft")
    parser.add_argument("--turns", type=int, default=3, help="optimizer steps that count")
    parser.add_argument("--only", nargs="+", default=[""], help="configurations whose name holds one of these")
    options = parser.parse_args()
    unit, form = ("tokens", "conversation") if options.method == "sft" else ("pairs", "pair")
    print(f"{source()}; {threads()} threads\n\n| TRL's configuration | {unit}/s | {unit} per processor second | peak |")
    print("|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        known: Any = read_conversations(
            options.base,
            folder,
            count=options.turns * STEP_ROWS,
            form=form,  # type: ignore[arg-type]
        )
        write_start(options.base, folder / "start")
        for setting in SFT if options.method == "sft" else DPO:
            if any(word in setting.name for word in options.only):
                _try(setting, options.base, folder, known, method=options.method)


def _try(setting: Setting, base: Path, folder: Path, known: Any, *, method: Any) -> None:
    sizes = known.sizes.tolist()
    course = Course(
        base=base,
        rows=folder / "tokens" / known.digest,
        start=folder / "start",
        steps=plan_course(sizes, setting, step_rows=STEP_ROWS),
        method=method,
        learning_rate=2e-4,
        threads=threads(),
    )
    count = sum(sizes[row] if method == "sft" else 1 for step in course.steps for part in step for row in part)
    try:
        with Table() as table:
            table.seat("TRL", trl, course=course, setting=setting)
            table.turn("TRL")  # warms up; it comes again as the last
            played = [table.turn("TRL") for _ in course.steps]
            table.close()
    except SystemExit as refused:
        print(f"| {setting.name} | refused: {str(refused).strip().splitlines()[-1]} | | |", flush=True)
        return
    clock, busy = (sum(turn[key] for turn in played) for key in ("seconds", "cpu_seconds"))
    print(f"| {setting.name} | {count / clock:.3g} | {count / busy:.3g} | {gib(table.peaks['TRL'])} |", flush=True)


if __name__ == "__main__":
    main()
