"""TRL as a contender of the training benchmarks: its own trainers and loop, held at the end of each optimizer step."""

import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.courses import BETA, Course, Setting
from benchmarks.turns import Seat


def quiet() -> None:
    """No network, no progress bars, no warnings: what is printed is the benchmark's."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def held(seat: Seat, losses: list[Any], *, more: Callable[[], dict[str, float]] = dict) -> Any:
    """A callback that hands the turn back at the end of each step; logging it and fetching rows are the next turn's.

    Args:
        seat: of the contender.
        losses: of the step's forward passes, weighed; emptied at each turn.
        more: further figures of a turn.
    """
    import transformers

    class Turns(transformers.TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            control.should_training_stop = not seat.wait()

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            seat.done(loss=float(sum(losses)), **more())
            losses.clear()
            control.should_training_stop = not seat.wait()

    return Turns()


def trl(seat: Seat, *, course: Course, setting: Setting) -> None:
    """TRL's ``SFTTrainer`` or ``DPOTrainer``."""
    quiet()
    import torch
    import transformers
    from peft import PeftModel

    from tuneward.training.rows import Rows

    torch.set_num_threads(course.threads)
    rows = Rows(course.rows)
    losses: list[Any] = []
    with tempfile.TemporaryDirectory() as folder:
        arguments = {
            **common_arguments(folder, learning_rate=course.learning_rate),
            "use_cpu": True,
            "per_device_train_batch_size": setting.batch,
            "gradient_accumulation_steps": len(course.steps[0]),
            **setting.arguments,
        }
        base = transformers.AutoModelForCausalLM.from_pretrained(
            course.base, dtype=getattr(torch, setting.dtype), attn_implementation=setting.attention
        )
        parts = {
            "model": PeftModel.from_pretrained(base, course.start, is_trainable=True),
            "processing_class": transformers.AutoTokenizer.from_pretrained(course.base),
            "callbacks": [held(seat, losses)],
        }
        passes = [[rows[i] for i in numbers] for step in course.steps for numbers in step]
        if course.method == "sft":
            trainer = sft_trainer(parts, arguments, passes, packed=setting.packed > 0, losses=losses)
        else:
            trainer = _dpo_trainer(parts, arguments, passes, share=1 / len(course.steps[0]), losses=losses)
        seat.ready()
        trainer.train()


def common_arguments(folder: str, *, learning_rate: float) -> dict[str, Any]:
    """Arguments of every trainer here: rows in the order in which they are given, a constant rate, nothing written."""
    return {
        "output_dir": folder,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "learning_rate": learning_rate,
        "lr_scheduler_type": "constant",
        "train_sampling_strategy": "sequential",
        "num_train_epochs": 1000,
    }


def sft_trainer(
    parts: dict[str, Any],
    arguments: dict[str, Any],
    passes: Sequence[Sequence[Any]],
    *,
    packed: bool,
    losses: list[Any],
) -> Any:
    """TRL's ``SFTTrainer`` over token ids and labels as they are; its steps' losses go into ``losses``.

    Args:
        parts: model, processing class and callbacks.
        arguments: of ``SFTConfig``.
        passes: rows of each forward pass.
        packed: whether the rows of a pass are one packed sequence.
        losses: receives each pass's share of its step's loss.
    """
    import datasets
    import transformers
    from trl import SFTConfig, SFTTrainer

    class Trainer(SFTTrainer):
        def compute_loss(self, *positional: Any, **named: Any) -> Any:
            loss = super().compute_loss(*positional, **named)
            losses.append(loss.detach())
            return loss

    if packed:  # the trainer is given what its own packing makes, so that a step's rows are known
        arguments |= {"packing": True, "dataset_kwargs": {"skip_prepare_dataset": True}}
        given = [
            {
                "input_ids": [int(i) for row in rows for i in row.ids],
                "labels": [int(i) for row in rows for i in row.labels],
                "seq_lengths": [row.ids.size for row in rows],
            }
            for rows in passes
        ]
    else:
        given = [{"input_ids": row.ids.tolist(), "labels": row.labels.tolist()} for rows in passes for row in rows]
    trainer = Trainer(args=SFTConfig(**arguments), train_dataset=datasets.Dataset.from_list(given), **parts)
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def _dpo_trainer(
    parts: dict[str, Any],
    arguments: dict[str, Any],
    passes: Sequence[Sequence[Any]],
    *,
    share: float,
    losses: list[Any],
) -> Any:
    import datasets
    import transformers
    from trl import DPOConfig, DPOTrainer

    class Trainer(DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *rest: Any, **named: Any) -> Any:
            return dataset  # token ids as they are: its own would add the line end after the answer's last token

        def compute_loss(self, *positional: Any, **named: Any) -> Any:
            loss = super().compute_loss(*positional, **named)
            losses.append(loss.detach() * share)
            return loss

    given = [
        {
            "prompt": "",
            "prompt_ids": row.ids.tolist(),
            "chosen_ids": row.branches[0].tolist(),
            "rejected_ids": row.branches[1].tolist(),
        }
        for rows in passes
        for row in rows
    ]
    arguments |= {"beta": BETA}
    trainer = Trainer(args=DPOConfig(**arguments), train_dataset=datasets.Dataset.from_list(given), **parts)
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer
