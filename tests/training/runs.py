"""Small runs for tests: a loop over a tiny base, and a training process that can be killed.

``python -m tests.training.runs BASE ROWS FOLDER CONFIG`` trains as ``python -m tuneward.training`` does, but
without a site.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tests.training.rows import PlainChat
from tuneward.modeling.base_model import load_base
from tuneward.modeling.lora import LoraLinear, add_lora
from tuneward.training.__main__ import STOPPED, Stop, line_writer
from tuneward.training.batches import Row, plan_steps, read_rows
from tuneward.training.checkpoint import Checkpoints
from tuneward.training.config import TrainingConfig
from tuneward.training.job import Job, train
from tuneward.training.loop import Loop


def rows_of(base: Path, file: Path, *, loss_on: str = "answers") -> list[Row]:
    return read_rows(file, PlainChat(base), loss_on=loss_on, context_tokens=512, vocabulary=304)


def make_loop(base: Path, rows: list[Row], folder: Path, **settings: Any) -> tuple[Loop, dict[str, LoraLinear]]:
    config = TrainingConfig(**{"precision": "fp32", "adapter": {"rank": 4}} | settings)
    model = load_base(base, precision="fp32")
    layers = add_lora(model, config.adapter, seed=config.seed)
    steps = plan_steps(
        rows,
        epochs=config.epochs,
        batch_tokens=config.batch_tokens,
        window_tokens=min(config.window_tokens, config.batch_tokens),
        seed=config.seed,
    )
    checkpoints = Checkpoints(folder / "checkpoints", "inputs")
    loop = Loop(
        model,
        layers,
        rows=rows,
        steps=steps,
        config=config,
        checkpoints=checkpoints,
        emit=lambda event: None,
        stop=lambda: False,
    )
    return loop, layers


def main(arguments: list[str]) -> int:
    base, rows, folder = (Path(argument) for argument in arguments[:3])
    stop = Stop()
    stop.watch()
    job = Job(rows, base, "tiny", TrainingConfig(**json.loads(arguments[3])), folder, "inputs")
    outcome = train(job, PlainChat(base), emit=line_writer(sys.stdout, stop), stop=stop)
    return STOPPED if outcome.status == "stopped" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
