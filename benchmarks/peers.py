"""Contenders of the training benchmarks: Tuneward, TRL, and the bare matrix products, each over the same steps.

The one file of the benchmarks that knows how a trainer is built. A contender is a function that :mod:`benchmarks.turns`
runs in a process of its own: it loads, says that it is ready, and trains one optimizer step a turn. What is trained
(rank 16 beside every linear layer, from the same factors), the rows of each step and their order are the same for all.
"""

import logging
import os
import random
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.turns import Seat

RANK, ALPHA, BETA = 16, 32.0, 0.1
PACKED_TOKENS = 1024  # TRL's default max_length
MEGABATCH = 50  # batches that transformers sorts by length at a time (trainer_pt_utils.get_length_grouped_indices)


#: For each optimizer step, for each forward pass of the peer, the numbers of its rows.
Steps = tuple[tuple[tuple[int, ...], ...], ...]


@dataclass(frozen=True)
class Course:
    """What is trained, in which order.

    Attributes:
        base: folder of the base model.
        rows: folder of tokenised rows (``training.rows.Rows``).
        start: PEFT folder of the adapter that all begin with; Tuneward writes it.
        steps: rows of each optimizer step, as the peer's forward passes hold them.
        method: ``sft`` or ``dpo``.
        learning_rate: constant.
        threads: threads of a product.
    """

    base: Path
    rows: Path
    start: Path
    steps: "Steps"
    method: Literal["sft", "dpo"]
    learning_rate: float
    threads: int


@dataclass(frozen=True)
class Setting:
    """A configuration of TRL.

    Attributes:
        name: for people.
        batch: rows per forward pass.
        grouped: rows come sorted by length as transformers' ``group_by_length`` sorts them; else shuffled.
        packed: rows come packed into sequences of ``max_length`` tokens (TRL's ``packing``), one a forward pass.
        dtype: of the base's weights; the trainer multiplies in bf16 in any case.
        arguments: further ones of ``SFTConfig`` or ``DPOConfig``.
    """

    name: str
    batch: int
    grouped: bool = False
    packed: bool = False
    dtype: str = "bfloat16"
    arguments: Mapping[str, Any] = field(default_factory=dict)


#: Found by search (docs/performance.md): of all that TRL offers on a CPU, these are the fastest.
SFT_SETTINGS = {
    "best": Setting("best", batch=4, grouped=True, arguments={"gradient_checkpointing": False}),
    "packing": Setting("packing", batch=1, packed=True, arguments={"gradient_checkpointing": False}),
    "defaults": Setting("defaults", batch=8, dtype="float32"),
}
DPO_SETTINGS = {
    "best": Setting("best", batch=2, grouped=True, arguments={"gradient_checkpointing": False}),
    "defaults": Setting("defaults", batch=8, dtype="float32"),
}


def plan_course(sizes: Sequence[int], setting: Setting, *, step_rows: int, steps: int) -> Steps:
    """The rows of each optimizer step, about ``step_rows``, in the order that suits the peer."""
    order = list(range(len(sizes)))
    random.Random(0).shuffle(order)
    if setting.packed:
        passes = _best_fit(order, sizes)
        per_step = max(1, round(step_rows * len(passes) / len(order)))
    else:
        if setting.grouped:
            chunk = MEGABATCH * setting.batch
            parts = [order[at : at + chunk] for at in range(0, len(order), chunk)]
            order = [row for part in parts for row in sorted(part, key=lambda row: sizes[row], reverse=True)]
        passes = [order[at : at + setting.batch] for at in range(0, len(order), setting.batch)]
        per_step = max(1, step_rows // setting.batch)
    whole = [passes[at : at + per_step] for at in range(0, len(passes) - per_step + 1, per_step)]
    if setting.grouped or setting.packed:
        random.Random(1).shuffle(whole)  # a run of a few steps must not see the longest rows alone
    if len(whole) < steps:
        raise SystemExit(f"{len(sizes)} rows give {len(whole)} steps, {steps} are asked for")
    return tuple(tuple(map(tuple, step)) for step in whole[:steps])


def _best_fit(order: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """Best-fit decreasing into sequences of ``PACKED_TOKENS``, as TRL packs by default."""
    bins: list[list[int]] = []
    room: list[int] = []
    for row in sorted(order, key=lambda row: sizes[row], reverse=True):
        fitting = [at for at, left in enumerate(room) if left >= sizes[row]]
        if not fitting:
            bins.append([])
            room.append(PACKED_TOKENS)
            fitting = [len(bins) - 1]
        best = min(fitting, key=lambda at: room[at])
        bins[best].append(row)
        room[best] -= sizes[row]
    return bins


def tuneward(seat: Seat, *, course: Course, window_tokens: int) -> None:
    """Tuneward's own loop, step by step."""
    from tuneward.settings import silence

    silence()
    import time

    import torch

    from tuneward.modeling.base_model import load_base, prove
    from tuneward.modeling.config import AdapterConfig
    from tuneward.modeling.fused import fuse
    from tuneward.modeling.lora import add_lora
    from tuneward.training.allocator import TRIM_STEPS, keep_freed_memory, return_freed_memory
    from tuneward.training.batches import Step, fill_windows
    from tuneward.training.checkpoint import Checkpoints
    from tuneward.training.config import PreferenceConfig, TrainingConfig
    from tuneward.training.loop import Loop
    from tuneward.training.objectives import make_objective
    from tuneward.training.reference import add_reference
    from tuneward.training.rows import Rows
    from tuneward.training.trainable import LoraTrainable

    keep_freed_memory()
    torch.set_num_threads(course.threads)
    rows = Rows(course.rows)
    adapter = AdapterConfig(rank=RANK, alpha=ALPHA)
    config = TrainingConfig(
        method=course.method,
        adapter=adapter,
        learning_rate=course.learning_rate,
        schedule="constant",
        warmup_fraction=0.0,
        window_tokens=window_tokens,
        preference=PreferenceConfig(beta=BETA),
        precision="bf16",
    )
    model = load_base(course.base, precision="bf16")
    fuse(model)
    prove(model)
    trainable = LoraTrainable(add_lora(model, adapter, seed=0), adapter)
    trainable.save(course.start, base_name="base")
    objective = make_objective(config)
    steps = []
    for passes in course.steps:
        numbers = [row for rows_of in passes for row in rows_of]
        windows = fill_windows([rows[i].size for i in numbers], window_tokens)
        weight = sum(objective.weigh(rows[i]) for i in numbers)
        placed = tuple(tuple(numbers[at] for at in window) for window in windows)
        trained = sum(rows[i].trained for i in numbers)
        steps.append(Step(placed, sum(rows[i].size for i in numbers), trained, weight))
    loop = Loop(
        model,
        trainable,
        objective,
        rows=rows,
        steps=steps,
        config=config,
        checkpoints=Checkpoints(course.start.parent / "unused", ""),
        emit=lambda event: None,
        stop=lambda: False,
    )
    started, busy = time.perf_counter(), time.process_time()
    if objective.needs_reference:
        trainable.pause()
        add_reference(
            rows,
            loop.look,
            folder=course.start.parent / "reference",
            made_from=("base",),
            window_tokens=window_tokens,
            stop=loop.stop,
            told=lambda done: None,
        )
    reference = time.perf_counter() - started, time.process_time() - busy
    trainable.begin()
    seat.ready()
    while seat.wait():
        step = steps[loop.done]
        outcome = loop._step(step)
        assert outcome is not None
        loop.done += 1
        if loop.done % TRIM_STEPS == 0:
            loop.optimizer.zero_grad(set_to_none=True)
            return_freed_memory()
        part = sum(map(len, step.windows)) / len(rows)
        seat.done(before=(reference[0] * part, reference[1] * part), loss=outcome.loss)


def trl(seat: Seat, *, course: Course, setting: Setting) -> None:
    """TRL's ``SFTTrainer`` or ``DPOTrainer``, held at the end of each optimizer step."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    warnings.simplefilter("ignore")
    import datasets
    import torch
    import transformers
    from peft import PeftModel

    from tuneward.training.rows import Rows

    torch.set_num_threads(course.threads)
    logging.disable(logging.WARNING)
    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    rows = Rows(course.rows)
    numbers = [row for step in course.steps for part in step for row in part]
    losses: list[Any] = []

    class Turns(transformers.TrainerCallback):
        """Hands the turn back at the end of each step; logging it and fetching the next rows are the next turn's."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            control.should_training_stop = not seat.wait()

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            seat.done(loss=float(sum(losses)))
            losses.clear()
            control.should_training_stop = not seat.wait()

    with tempfile.TemporaryDirectory() as folder:
        arguments = {
            "output_dir": folder,
            "use_cpu": True,
            "report_to": "none",
            "save_strategy": "no",
            "disable_tqdm": True,
            "learning_rate": course.learning_rate,
            "lr_scheduler_type": "constant",
            "per_device_train_batch_size": setting.batch,
            "gradient_accumulation_steps": len(course.steps[0]),
            "train_sampling_strategy": "sequential",
            "num_train_epochs": 1000,
            **setting.arguments,
        }
        base = transformers.AutoModelForCausalLM.from_pretrained(course.base, dtype=getattr(torch, setting.dtype))
        common = {
            "model": PeftModel.from_pretrained(base, course.start, is_trainable=True),
            "processing_class": transformers.AutoTokenizer.from_pretrained(course.base),
            "callbacks": [Turns()],
        }
        make = _sft_trainer if course.method == "sft" else _dpo_trainer
        trainer = make(common, arguments, [rows[i] for i in numbers], setting, course, losses)
        trainer.remove_callback(transformers.PrinterCallback)
        seat.ready()
        trainer.train()


def _sft_trainer(common: Any, arguments: Any, rows: Any, setting: Setting, course: Course, losses: list[Any]) -> Any:
    import datasets
    from trl import SFTConfig, SFTTrainer

    class Trainer(SFTTrainer):
        def compute_loss(self, *positional: Any, **named: Any) -> Any:
            loss = super().compute_loss(*positional, **named)
            losses.append(loss.detach())
            return loss

    given = [{"input_ids": row.ids.tolist(), "labels": row.labels.tolist()} for row in rows]
    if setting.packed:  # the trainer is given what its own packing makes, so that a step's rows are known
        arguments |= {"packing": True, "dataset_kwargs": {"skip_prepare_dataset": True}}
        given, at = [], 0
        for numbers in (numbers for step in course.steps for numbers in step):
            part = rows[at : at + len(numbers)]
            at += len(numbers)
            given.append(
                {
                    "input_ids": [int(i) for row in part for i in row.ids],
                    "labels": [int(i) for row in part for i in row.labels],
                    "seq_lengths": [row.ids.size for row in part],
                }
            )
    return Trainer(args=SFTConfig(**arguments), train_dataset=datasets.Dataset.from_list(given), **common)


def _dpo_trainer(common: Any, arguments: Any, rows: Any, setting: Setting, course: Course, losses: list[Any]) -> Any:
    import datasets
    from trl import DPOConfig, DPOTrainer

    share = 1 / len(course.steps[0])

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
        for row in rows
    ]
    arguments |= {"beta": BETA}
    return Trainer(args=DPOConfig(**arguments), train_dataset=datasets.Dataset.from_list(given), **common)


def products(seat: Seat, *, course: Course, window_tokens: int) -> None:
    """The matrix products that no implementation of the step can avoid, alone, in the shapes of our windows.

    Counted are, of every frozen linear layer, the forward product and the one for its input's gradient, and of the
    output head the same two where a token is learned. Not counted, though they cannot be avoided either: the adapter's
    narrow products and attention's. A turn also reports its seconds with these (``wide_seconds``).
    """
    import time

    import torch
    from torch.nn.functional import linear

    from tuneward.modeling.base_model import load_base
    from tuneward.modeling.config import AdapterConfig
    from tuneward.modeling.lora import find_targets
    from tuneward.training.allocator import keep_freed_memory
    from tuneward.training.batches import Window, fill_windows
    from tuneward.training.rows import Rows

    keep_freed_memory()
    torch.set_num_threads(course.threads)
    rows = Rows(course.rows)
    model = load_base(course.base, precision="bf16")
    weights = [layer.weight for _, layer in find_targets(model, AdapterConfig())]
    head: Any = model.get_output_embeddings().weight
    config = model.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    groups, layers = config.num_attention_heads, config.num_hidden_layers

    def frozen(window: Window, inputs: Any) -> None:
        for weight in weights:
            linear(inputs[weight.shape[1]], weight)
            torch.mm(inputs[weight.shape[0]], weight)
        for part in inputs[head.shape[1]][: window.places.shape[0]].split(128):
            torch.mm(linear(part, head), head)

    def narrow(inputs: Any) -> None:
        for weight in weights:
            x, g = inputs[weight.shape[1]], inputs[weight.shape[0]]
            a, b = factors[weight.shape[1]], factors[weight.shape[0]]
            low = linear(x, a)
            torch.mm(low, b)
            back = torch.mm(g, b.t())
            torch.mm(back, a)
            torch.mm(g.t(), low)
            torch.mm(back.t(), x)

    def attention(window: Window) -> None:
        for length in window.layout.lengths:
            query = torch.randn(groups, length, head_dim, dtype=torch.bfloat16)
            scores = torch.empty(groups, length, length, dtype=torch.bfloat16)
            for _ in range(layers):
                for _ in range(2):
                    torch.bmm(query, query.transpose(1, 2))  # scores; gradient of the weights
                for _ in range(4):
                    torch.bmm(scores, query)  # output; gradients of value, query and key

    widths = {size for weight in weights for size in weight.shape} | {head.shape[1]}
    factors = {size: torch.randn(RANK, size, dtype=torch.bfloat16) for size in widths}
    seat.ready()
    done = 0
    with torch.no_grad():
        while seat.wait():
            numbers = [row for part in course.steps[done] for row in part]
            done += 1
            alone = wide = 0.0
            for placed in fill_windows([rows[i].size for i in numbers], window_tokens):
                window = Window.pack([rows[numbers[at]] for at in placed])
                tokens = window.ids.shape[1]
                inputs = {size: torch.randn(tokens, size, dtype=torch.bfloat16) for size in widths}
                started = time.perf_counter()
                frozen(window, inputs)
                middle = time.perf_counter()
                narrow(inputs)
                attention(window)
                alone += middle - started
                wide += time.perf_counter() - started
            seat.done(alone_seconds=alone, wide_seconds=wide)
