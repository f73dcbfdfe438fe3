"""What four bits cost: loss beside a base in bf16, with linear layers in NF4, and with embedding and head in NF4 too.

Measured on held-out conversations of hh-rlhf (see ``conversations``): by each base alone, and after the same short
training of an adapter on other rows. A figure is the mean over rows of the mean loss of a row's learned tokens, in
nats, with a 95% interval over rows; differences are of the same rows.

    TUNEWARD_TEST_DATA=… python -m benchmarks.qlora_quality BASE_FOLDER [--rows 200] [--train 64]
"""

import argparse
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.conversations import read_conversations, source
from benchmarks.courses import ALPHA, RANK
from benchmarks.ours import make_loop
from tuneward.settings import silence

silence()

import torch  # noqa: E402

from tuneward.modeling.base_model import load_base  # noqa: E402
from tuneward.modeling.likelihood import losses  # noqa: E402
from tuneward.training.config import TrainingConfig  # noqa: E402
from tuneward.training.curve import Curve  # noqa: E402

#: How a base is kept → what the adapter beside it says.
KEPT: dict[str, dict[str, Any]] = {
    "bf16": {"kind": "lora"},
    "linear layers in NF4": {"kind": "qlora"},
    "embedding and head too": {"kind": "qlora", "quantise_embeddings": True},
}
ROWS_OF_STEP = 8


def measure(base: Path, adapter: dict[str, Any], *, count: int, trained: int, folder: Path) -> list[list[float]]:
    """Losses of the held-out rows, before training and, where rows are trained, after it.

    Args:
        base: folder of the base.
        adapter: settings of the adapter.
        count: rows held out.
        trained: other rows, which the adapter learns once.
        folder: may be filled.
    """
    rows = read_conversations(base, folder, count=count + trained, form="conversation")
    held = [(row.ids.tolist(), row.labels.tolist()) for row in rows[:count]]
    config = TrainingConfig(precision="bf16", learning_rate=5e-4, adapter={"rank": RANK, "alpha": ALPHA, **adapter})
    model = load_base(base, precision="bf16", quantisation=config.adapter.quantisation)
    found = [losses(model, held)]
    if trained:
        learned = range(count, count + trained)
        passes = [[learned[at : at + ROWS_OF_STEP]] for at in range(0, trained, ROWS_OF_STEP)]
        loop = make_loop(model, rows, passes, config, folder=folder)
        loop.run(lambda upto: Curve(folder / "curve.jsonl", upto=upto))
        loop.trainable.pause()
        found.append(losses(model, held))
    return found


def told(values: Sequence[float]) -> str:
    """Mean and half of the 95% interval (normal)."""
    seen = torch.tensor(values, dtype=torch.float64)
    return f"{float(seen.mean()):.3f} ± {1.96 * float(seen.std()) / math.sqrt(len(seen)):.3f}"


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, help="folder of the base model")
    parser.add_argument("--rows", type=int, default=200, help="held out")
    parser.add_argument("--train", type=int, default=64, help="rows that an adapter learns; 0 for none")
    options = parser.parse_args()
    print(f"{options.rows} rows of {source()}, {options.train} others trained, {ROWS_OF_STEP} a step")
    before: list[list[float]] | None = None
    for kept, adapter in KEPT.items():
        with tempfile.TemporaryDirectory() as folder:
            found = measure(options.base, adapter, count=options.rows, trained=options.train, folder=Path(folder))
        for number, (when, values) in enumerate(zip(("base alone", "trained"), found, strict=False)):
            line = f"{kept}, {when}: {told(values)}"
            if before is not None:
                line += f"; against the one before {told([a - b for a, b in zip(values, before[number], strict=True)])}"
            print(line, flush=True)
        before = found


if __name__ == "__main__":
    main()
