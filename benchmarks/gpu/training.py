"""Contenders on one CUDA device: Tuneward and TRL, over full windows of random tokens, one optimizer step a turn.

Each says what its step took of the device's memory; a cap, where there is one, is enforced on both: the allocator
refuses more, and the driver's own share is counted into it.
"""

import importlib.util
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.courses import ALPHA, RANK
from benchmarks.gpu.models import SHAPES, ours, theirs, wait
from benchmarks.ours import make_loop, next_step
from benchmarks.theirs import common_arguments, held, quiet, sft_trainer
from benchmarks.turns import Seat

STEPS = 64  # rows that are at hand; a run ends earlier


@dataclass(frozen=True)
class Task:
    """One training step's size.

    Attributes:
        shape: a name of ``models.SHAPES``.
        length: tokens of a document; one document a step, all of them learned.
        quantised: whether linear layers are kept in NF4.
        recompute: whether layers are computed again in the backward pass instead of being kept.
        cap_bytes: what the process may take of the device, the driver's share included; None for all.
        device: ``cuda``, or ``cpu`` to try a script out.
    """

    shape: str
    length: int
    quantised: bool
    recompute: bool
    cap_bytes: int | None
    device: str


def tuneward(seat: Seat, *, task: Task) -> None:
    """Tuneward's loop."""
    from tuneward.settings import silence

    silence()
    from tuneward.modeling.config import AdapterConfig
    from tuneward.training.config import TrainingConfig

    enforce(task)
    model = ours(SHAPES[task.shape], quantised=task.quantised, device=task.device)
    config = TrainingConfig(
        adapter=AdapterConfig(kind="qlora" if task.quantised else "lora", rank=RANK, alpha=ALPHA),
        learning_rate=1e-4,
        schedule="constant",
        warmup_fraction=0.0,
        window_tokens=task.length,
        batch_tokens=task.length,
        precision="bf16",
    )
    rows = make_rows(task)
    with tempfile.TemporaryDirectory() as folder:
        loop = make_loop(model, rows, [[[number]] for number in range(len(rows))], config, folder=Path(folder))
        if task.recompute:
            from tuneward.training.recompute import recompute

            recompute(model, True)
        loop.trainable.begin()
        seat.ready(**memory(task.device))
        while seat.wait():
            loss = next_step(loop)
            wait(task.device)
            seat.done(loss=loss, **memory(task.device))


def trl(seat: Seat, *, task: Task) -> None:
    """TRL's ``SFTTrainer``, with its own checkpointing where the task asks for it."""
    quiet()
    from peft import LoraConfig, get_peft_model

    enforce(task)
    base = theirs(SHAPES[task.shape], quantised=task.quantised, device=task.device)
    model = get_peft_model(base, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear"))
    losses: list[Any] = []

    def more() -> dict[str, float]:
        wait(task.device)
        return memory(task.device)

    with tempfile.TemporaryDirectory() as folder:
        arguments = {
            **common_arguments(folder, learning_rate=1e-4),
            "use_cpu": task.device == "cpu",
            "per_device_train_batch_size": 1,
            "max_length": task.length,
            "gradient_checkpointing": task.recompute,
        }
        parts = {"model": model, "processing_class": _bare_tokenizer(), "callbacks": [held(seat, losses, more=more)]}
        passes = [[row] for row in make_rows(task)]
        trainer = sft_trainer(parts, arguments, passes, packed=False, losses=losses)
        seat.ready(**memory(task.device))
        trainer.train()


def has_trl() -> bool:
    """Whether the peer can be imported."""
    return all(importlib.util.find_spec(name) for name in ("trl", "peft", "datasets"))


def make_rows(task: Task) -> list[Any]:
    """Documents of random tokens, the same for both."""
    import numpy as np

    from tuneward.training.rows import Row

    draw = np.random.default_rng(0)
    vocabulary = SHAPES[task.shape].vocabulary
    drawn = (draw.integers(3, vocabulary, task.length).astype(np.int32) for _ in range(STEPS))
    return [Row(f"r{number}", ids, ids) for number, ids in enumerate(drawn)]


def enforce(task: Task) -> None:
    """Let the allocator refuse what would exceed the cap."""
    if task.cap_bytes is None or task.device != "cuda":
        return
    import torch

    torch.zeros(1, device="cuda")
    free, total = torch.cuda.mem_get_info()
    driver = total - free - torch.cuda.memory_reserved()
    torch.cuda.set_per_process_memory_fraction((task.cap_bytes - driver) / total)


def memory(device: str) -> dict[str, float]:
    """Most bytes so far: of tensors, and what the process held with the driver."""
    if device != "cuda":
        return {"allocated": 0.0, "held": 0.0}
    import torch

    free, total = torch.cuda.mem_get_info()
    driver = total - free - torch.cuda.memory_reserved()
    return {
        "allocated": float(torch.cuda.max_memory_allocated()),
        "held": float(torch.cuda.max_memory_reserved() + driver),
    }


def _bare_tokenizer() -> Any:
    """The trainer wants one, though rows come as ids."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    known = Tokenizer(models.WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=known, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
