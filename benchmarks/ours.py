"""Tuneward as a contender of the training benchmarks; the one file of them that knows how its loop is built.

A contender is a function that :mod:`benchmarks.turns` runs in a process of its own: it loads, says that it is ready,
and trains one optimizer step a turn.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.courses import ALPHA, BETA, RANK, Course
from benchmarks.turns import Seat


def plan_windows(
    rows: Sequence[Any], passes: Sequence[Sequence[Sequence[int]]], *, window_tokens: int, weigh: Callable[[Any], float]
) -> list[Any]:
    """The steps of a loop over given rows, dealt over windows as ``plan_steps`` deals them."""
    from tuneward.training.batches import plan_steps

    steps = []
    for step in passes:
        numbers = [row for part in step for row in part]
        (planned,) = plan_steps(
            [rows[i] for i in numbers],
            epochs=1,
            batch_tokens=window_tokens,
            batch_rows=len(numbers),
            window_tokens=window_tokens,
            seed=0,
            weigh=weigh,
        )
        windows = tuple(tuple(numbers[at] for at in window) for window in planned.windows)
        steps.append(replace(planned, windows=windows))
    return steps


def make_loop(
    model: Any, rows: Sequence[Any], passes: Sequence[Sequence[Sequence[int]]], config: Any, *, folder: Path
) -> Any:
    """Tuneward's loop over steps of these rows, windows filled in their order; the adapter is written into ``folder``.

    Args:
        model: the base.
        rows: tokenised.
        passes: for each step the rows' numbers, in any nesting of one level.
        config: a ``TrainingConfig``.
        folder: receives ``start``, a PEFT folder of the adapter before the first step.
    """
    from tuneward.training.checkpoint import Checkpoints
    from tuneward.training.loop import Loop
    from tuneward.training.objectives import make_objective
    from tuneward.training.start import make_trainable

    trainable = make_trainable(model, config, start=None)
    trainable.save(folder / "start", base_name="base")
    objective = make_objective(config, hidden=model.config.get_text_config().hidden_size)
    steps = plan_windows(rows, passes, window_tokens=config.window_tokens, weigh=objective.weigh)
    return Loop(
        model,
        trainable,
        objective,
        rows=rows,
        steps=steps,
        config=config,
        checkpoints=Checkpoints(folder / "unused", ""),
        emit=lambda event: None,
        stop=lambda: False,
    )


def allocator_of_ours() -> dict[str, str]:
    """The variables that choose the allocator of a training, as the product starts one on this machine."""
    from tuneward.modeling.machine import with_jemalloc

    return {name: value for name, value in with_jemalloc(os.environ).items() if os.environ.get(name) != value}


def write_start(base: Path, folder: Path) -> None:
    """Write the adapter that all contenders begin with, where Tuneward is not among them."""
    from tuneward.modeling.base_model import load_base
    from tuneward.modeling.config import AdapterConfig
    from tuneward.modeling.lora import add_lora
    from tuneward.training.trainable import LoraTrainable

    config = AdapterConfig(rank=RANK, alpha=ALPHA)
    layers = add_lora(load_base(base, precision="bf16"), config, seed=0)
    LoraTrainable(layers, config).save(folder, base_name="base")


def next_step(loop: Any) -> float:
    """One optimizer step as ``Loop.run`` makes it, without curve and checkpoint; returns the loss."""
    from tuneward.training.allocator import TRIM_STEPS, return_freed_memory

    outcome = loop._step(loop.steps[loop.done])
    assert outcome is not None, "nobody asks it to stop"
    loop.done += 1
    if loop.done % TRIM_STEPS == 0:
        loop.optimizer.zero_grad(set_to_none=True)
        return_freed_memory()
    return float(outcome.loss)


def tuneward(seat: Seat, *, course: Course, window_tokens: int) -> None:
    """Tuneward's own loop, step by step."""
    from tuneward.settings import silence

    silence()
    import torch

    from tuneward.modeling.base_model import load_base
    from tuneward.modeling.config import AdapterConfig
    from tuneward.training.allocator import keep_freed_memory
    from tuneward.training.config import PreferenceConfig, TrainingConfig
    from tuneward.training.reference import add_reference
    from tuneward.training.rows import Rows

    keep_freed_memory()
    torch.set_num_threads(course.threads)
    rows = Rows(course.rows)
    config = TrainingConfig(
        method=course.method,
        adapter=AdapterConfig(rank=RANK, alpha=ALPHA),
        learning_rate=course.learning_rate,
        schedule="constant",
        warmup_fraction=0.0,
        window_tokens=window_tokens,
        preference=PreferenceConfig(beta=BETA),
        precision="bf16",
    )
    model = load_base(course.base, precision="bf16")
    loop = make_loop(model, rows, course.steps, config, folder=course.start.parent)
    started, busy = time.perf_counter(), time.process_time()
    if loop.objective.needs_reference:
        loop.trainable.pause()
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
    loop.trainable.begin()
    seat.ready()
    while seat.wait():
        part = sum(map(len, loop.steps[loop.done].windows)) / len(rows)
        loss = next_step(loop)
        seat.done(before=(reference[0] * part, reference[1] * part), loss=loss)
