"""Small runs for tests: a loop over a tiny base, and a training process that can be killed.

``python -m tests.training.runs BASE ROWS FOLDER CONFIG`` trains as ``python -m tuneward.training`` does, but
without a site.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tests.training.rows import PlainChat, write_rows
from tuneward.modeling.base_model import load_base
from tuneward.modeling.lora import LoraLinear, add_lora
from tuneward.training.__main__ import STOPPED, Stop, leave, line_writer, report
from tuneward.training.batches import plan_steps
from tuneward.training.checkpoint import Checkpoints
from tuneward.training.config import TrainingConfig
from tuneward.training.distributed import join
from tuneward.training.embedding_noise import EmbeddingNoise
from tuneward.training.job import Job, train
from tuneward.training.loop import Loop
from tuneward.training.objectives import make_objective
from tuneward.training.recompute import recompute
from tuneward.training.reference import add_reference
from tuneward.training.rows import Rows
from tuneward.training.samples import Samples
from tuneward.training.tokenising import read_rows
from tuneward.training.trainable import FullTrainable, LoraTrainable
from tuneward.training.validation import Validation, hold_out

#: Every objective with settings that make each of its terms felt.
OBJECTIVES: dict[str, dict[str, Any]] = {
    "sft": {},
    "pretrain": {"method": "pretrain"},
    "dpo": {"method": "dpo", "preference": {"beta": 0.3, "label_smoothing": 0.1, "sft_weight": 0.5}},
    "ipo": {"method": "dpo", "preference": {"loss": "ipo", "beta": 0.4}},
    "simpo": {"method": "dpo", "preference": {"loss": "simpo", "label_smoothing": 0.1}},
    "orpo": {"method": "dpo", "preference": {"loss": "orpo", "beta": 0.6}},
    "kto": {"method": "dpo", "preference": {"loss": "kto", "beta": 0.3, "desirable_weight": 1.2}},
    "reward": {"method": "reward", "reward": {"center": 0.1}},
}

#: What a form is made from, as ``write_rows`` names it.
KINDS = {"document": "sft", "conversation": "sft", "pair": "pair", "judged": "judged"}


def rows_for(base: Path, folder: Path, name: str, count: int) -> Rows:
    """Rows that the objective ``name`` learns from."""
    form = make_objective(TrainingConfig(**OBJECTIVES[name]), hidden=1).form
    return rows_of(base, write_rows(folder / f"{form}.jsonl", count, kind=KINDS[form]), form=form)


def with_reference(loop: Loop, folder: Path) -> Loop:
    """Give the loop's rows the reference that its objective needs, from the model as it is."""
    if loop.objective.needs_reference:
        add_reference(
            loop.rows,
            loop.look,
            folder=folder / "reference",
            made_from=["start"],
            window_tokens=500,
            stop=lambda: False,
            told=lambda rows: None,
        )
    return loop


def rows_of(base: Path, file: Path, *, loss_on: str = "answers", form: str = "conversation") -> Rows:
    cache = file.parent / "tokens"
    return read_rows(file, PlainChat(base), cache=cache, loss_on=loss_on, form=form, context_tokens=512, vocabulary=304)


def make_loop(base: Path, rows: Rows, folder: Path, **settings: Any) -> tuple[Loop, dict[str, LoraLinear]]:
    config = TrainingConfig(**{"precision": "fp32", "adapter": {"rank": 4}} | settings)
    model = load_base(base, precision=config.precision)
    objective = make_objective(config, hidden=model.config.hidden_size)
    layers = {} if config.adapter.kind == "full" else add_lora(model, config.adapter, seed=config.seed)
    recompute(model, config.recompute)
    if config.neftune_alpha:
        EmbeddingNoise(model, config.neftune_alpha)
    learned, held = hold_out(rows.groups, fraction=config.validation.fraction, seed=config.seed)
    steps = plan_steps(
        rows,
        epochs=config.epochs,
        batch_tokens=config.batch_tokens,
        batch_rows=config.batch_rows,
        window_tokens=min(config.window_tokens, config.batch_tokens),
        seed=config.seed,
        weigh=objective.weigh,
        among=learned,
    )
    loop = Loop(
        model,
        LoraTrainable(layers, config.adapter) if layers else FullTrainable(model),
        objective,
        rows=rows,
        steps=steps,
        config=config,
        checkpoints=Checkpoints(folder / "checkpoints", "inputs"),
        emit=lambda event: None,
        stop=lambda: False,
        validation=make_validation(base, held, rows, steps, objective, model, config, folder) if held else None,
    )
    return loop, layers


def make_validation(base, held, rows, steps, objective, model, config, folder) -> Validation:  # type: ignore[no-untyped-def]
    count, tokens, samples = config.validation.samples, config.validation.sample_tokens, None
    if count:
        asked = [rows[number] for number in held[:count]]
        samples = Samples(asked, model, PlainChat(base), folder=folder, tokens=tokens)
    return Validation(held, rows, steps, objective, config=config, folder=folder, samples=samples)


def main(arguments: list[str]) -> int:
    base, rows, folder = (Path(argument) for argument in arguments[:3])
    stop = Stop()
    stop.watch()
    emit = line_writer(sys.stdout, stop)
    config = TrainingConfig(**json.loads(arguments[3]))
    job = Job(rows, base, "tiny", config, folder, "inputs")
    try:
        with join("cpu") as group:
            outcome = train(job, PlainChat(base), emit=emit, stop=stop, group=group)
    except Exception as error:
        return report(error, emit, stop)
    return STOPPED if outcome.status == "stopped" else 0


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
