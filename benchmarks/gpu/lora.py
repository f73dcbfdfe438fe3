"""LoRA on one CUDA device: 8B at length 4096 in bf16; tokens per second, and the share of the card's own rate.

Tuneward and, where it can be imported, TRL, in turn; one after the other where the card cannot hold both. The card's
rate is measured in turns between, with square bf16 products; what a step needs is counted in
``models.Shape.flop_per_token``.

    python -m benchmarks.gpu.lora [--shape 8b] [--length 4096] [--turns 8]
"""

import argparse
import statistics
from typing import Any

from benchmarks.courses import RANK
from benchmarks.gpu.models import SHAPES, matrix_rate
from benchmarks.gpu.training import Task, has_trl, trl, tuneward
from benchmarks.turns import Ratio, Seat, Table, gib, in_turn

BAR_TOKENS, BAR_SHARE = 15_000, 0.5
HOLDS_BOTH = 120 * 10**9  # bytes of a card on which two 8B models fit side by side
WARM_UP = 2  # turns that do not count


def rate(seat: Seat, *, device: str) -> None:
    """The device's rate of matrix products as a contender."""
    import torch

    seat.ready(total=torch.cuda.get_device_properties(0).total_memory if device == "cuda" else HOLDS_BOTH)
    while seat.wait():
        seat.done(rate=matrix_rate(device))


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="8b")
    parser.add_argument("--length", type=int, default=4096, help="tokens of a document and of a step")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--recompute", action="store_true", help="both compute layers again in the backward pass")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu to try the script out")
    options = parser.parse_args()
    task = Task(options.shape, options.length, False, options.recompute, None, options.device)
    players = {"tuneward": tuneward, **({"TRL": trl} if has_trl() else {})}
    if "TRL" not in players:
        print("trl, peft or datasets cannot be imported: Tuneward runs alone")
    with Table() as table:
        together = table.seat("rate", rate, device=options.device)["total"] >= HOLDS_BOTH
        table.close()
    played: dict[str, list[Any]] = {}
    for names in [list(players)] if together else [[name] for name in players]:
        with Table() as table:
            table.seat("rate", rate, device=options.device)
            for name in names:
                table.seat(name, players[name], task=task)

            def told(number: int, results: Any) -> None:
                took = {name: result for name, result in results.items() if name != "rate"}
                speeds = ", ".join(
                    f"{name} {task.length / result['seconds']:.0f} tokens/s, loss {result['loss']:.4f}"
                    for name, result in took.items()
                )
                print(f"turn {number}: {speeds}; card {results['rate']['rate'] / 1e12:.3g} TFLOP/s", flush=True)

            turns = in_turn(table, ["rate", *names], options.turns + WARM_UP, told=told)[WARM_UP:]
            table.close()
        for name in ["rate", *names]:
            played.setdefault(name, []).extend(turn[name] for turn in turns)
    _tell(task, played)


def _tell(task: Task, played: dict[str, list[Any]]) -> None:
    card = statistics.median(result["rate"] for result in played.pop("rate"))
    need = SHAPES[task.shape].flop_per_token(length=task.length, rank=RANK)
    seconds = {name: [result["seconds"] for result in results] for name, results in played.items()}
    for name, results in played.items():
        speed = task.length * len(results) / sum(seconds[name])
        highest = gib(max(result["allocated"] for result in results))
        print(
            f"{name}: {speed:.0f} tokens/s, {speed * need / 1e12:.3g} of {card / 1e12:.3g} TFLOP/s = "
            f"{speed * need / card:.0%} of the card's rate, {highest} of tensors at most"
        )
    print(f"bars: {BAR_TOKENS} tokens/s and {BAR_SHARE:.0%} of the card's rate, for an 8B model at length 4096")
    if "TRL" in seconds:
        print(f"ratio tuneward / TRL: {Ratio.of(seconds['TRL'], seconds['tuneward'])}")


if __name__ == "__main__":
    main()
