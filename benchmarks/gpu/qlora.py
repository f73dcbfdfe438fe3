"""QLoRA within a card's memory: a step of 7B inside 16 GB and of 70B inside 48 GB, under an enforced cap.

Models are made layer by layer directly in NF4. The allocator refuses what would exceed the cap, the driver's share
counted into it, so a step that ends has proven that it fits. TRL tries the same under the same cap where it can be
imported.

    python -m benchmarks.gpu.qlora [--case 7b 70b] [--turns 3]
"""

import argparse

from benchmarks.gpu.models import SHAPES
from benchmarks.gpu.training import Task, has_trl, trl, tuneward
from benchmarks.turns import Table

#: Shape → tokens of a step and the cap in bytes; a card's GB are 10^9 here, which is less than what it has.
CASES = {"7b": (2048, 16 * 10**9), "70b": (2048, 48 * 10**9), "tiny": (128, 10**9)}
NOT = "does NOT"


def main() -> None:
    """Read the options and run; ends with 1 when ours does not fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=CASES, default=["7b", "70b"])
    parser.add_argument("--length", type=int, help="tokens of a step, instead of the case's own")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu to try the script out")
    options = parser.parse_args()
    fits: dict[tuple[str, str], str] = {}
    for case in options.case:
        length, cap = CASES[case]
        task = Task(case, options.length or length, True, True, cap, options.device)
        for name, player in [("tuneward", tuneward), *([("TRL", trl)] if has_trl() else [])]:
            fits[case, name] = _try(name, player, task, turns=options.turns)
    for (case, name), told in fits.items():
        print(f"{case} in NF4, {SHAPES[case].linear_weights / 1e9:.1f}e9 weights, {name}: {told}")
    if any(told.startswith(NOT) for (_, name), told in fits.items() if name == "tuneward"):
        raise SystemExit(1)


def _try(name: str, player: object, task: Task, *, turns: int) -> str:
    """One contender alone on the device: what it took, or how it ended before."""
    cap = task.cap_bytes or 0
    try:
        with Table() as table:
            table.seat(name, player, task=task)  # type: ignore[arg-type]
            results = [table.turn(name) for _ in range(turns)]
            table.close()
    except SystemExit as ended:
        if "OutOfMemoryError" in str(ended):
            return f"{NOT} fit into {cap / 1e9:.0f} GB"
        return f"{NOT} run: {str(ended).strip().splitlines()[-1]}"
    held = max(result["held"] for result in results)
    seconds = min(result["seconds"] for result in results)
    return (
        f"{held / 1e9:.2f} of {cap / 1e9:.0f} GB held at most, {results[-1]['allocated'] / 1e9:.2f} GB of tensors, "
        f"{task.length / seconds:.0f} tokens/s, loss {results[-1]['loss']:.3f}"
    )


if __name__ == "__main__":
    main()
