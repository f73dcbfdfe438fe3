"""Growth: does training take the same time per token and the same memory over 1, 4 and 16 times as many rows?

Three runs of one epoch, every one a process of its own: rows are read and tokenised anew, then trained. The shorter
runs take their turns spread over the longest, so that the machine's moods fall on all alike.

    python -m benchmarks.growth BASE_FOLDER [--rows 48]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.conversations import read_conversations, source
from benchmarks.courses import Course
from benchmarks.ours import allocator_of_ours, tuneward
from benchmarks.turns import Table, gib
from tuneward.modeling.machine import threads
from tuneward.training.batches import plan_steps

SIZES = (1, 4, 16)
BATCH_TOKENS, WINDOW_TOKENS = 2048, 1024
FEWEST_STEPS = 3


def grow(base: Path, *, rows: int) -> dict[str, float]:
    """Run it; returns the largest against the smallest: time per token, memory, time of preparing a row."""
    plans, preparing = {}, {}
    with tempfile.TemporaryDirectory() as scratch, Table() as table:
        print(f"{source()}; {threads()} threads")
        for size in SIZES:
            folder = Path(scratch) / str(size)
            folder.mkdir()
            started = time.perf_counter()
            known = read_conversations(base, folder, count=size * rows, form="conversation")
            preparing[size] = (time.perf_counter() - started) / len(known)
            steps = plan_steps(known, epochs=1, batch_tokens=BATCH_TOKENS, window_tokens=WINDOW_TOKENS, seed=0)
            if len(steps) < FEWEST_STEPS:
                raise SystemExit(f"{len(known)} rows make {len(steps)} steps, too few to time; give more --rows")
            plans[size] = steps
            course = Course(
                base=base,
                rows=folder / "tokens" / known.digest,
                start=folder / "start",
                steps=tuple(step.windows for step in steps),
                method="sft",
                learning_rate=2e-4,
                threads=threads(),
            )
            table.seat(
                f"{size}x", tuneward, environment=allocator_of_ours(), course=course, window_tokens=WINDOW_TOKENS
            )
        taken = _play(table, plans)
        table.close()
        peaks = {size: table.peaks[f"{size}x"] for size in SIZES}
    per_token = {size: statistics.median(taken[size]) for size in SIZES}
    for size in SIZES:
        tokens = sum(step.tokens for step in plans[size])
        print(
            f"{size:3}x: {size * rows} rows, {tokens} tokens, {len(plans[size])} steps: "
            f"{1e3 * per_token[size]:.3f} ms a token (median of steps), peak {gib(peaks[size])}, "
            f"{1e3 * preparing[size]:.2f} ms to prepare a row"
        )
    first, last = SIZES[0], SIZES[-1]
    figures = {
        "time": per_token[last] / per_token[first],
        "memory": peaks[last] / peaks[first],
        "preparing": preparing[last] / preparing[first],
    }
    print(
        f"{last}x against {first}x: time per token {figures['time']:.2f}, peak memory {figures['memory']:.2f}, "
        f"time to prepare a row {figures['preparing']:.2f}",
        flush=True,
    )
    return figures


def _play(table: Table, plans: dict[int, list[Any]]) -> dict[int, list[float]]:
    """Every step of every run, the shorter ones spread evenly; seconds per token of each but a run's first."""
    due = sorted(
        ((place + 0.5) / len(steps), size, place) for size, steps in plans.items() for place in range(len(steps))
    )
    taken: dict[int, list[float]] = {size: [] for size in plans}
    for _, size, place in due:
        seconds = table.turn(f"{size}x")["seconds"]
        if place:
            taken[size].append(seconds / plans[size][place].tokens)
    return taken


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, help="folder of the base model")
    parser.add_argument("--rows", type=int, default=48, help="rows of the smallest run")
    options = parser.parse_args()
    grow(options.base, rows=options.rows)
