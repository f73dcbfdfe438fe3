"""Courses: which rows each optimizer step holds, the same for every contender, in the order that suits the peer.

Also TRL's configurations, for they decide that order. Knows neither torch nor a trainer.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

RANK, ALPHA, BETA = 16, 32.0, 0.1
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
    steps: Steps
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
        packed: tokens of a sequence into which rows come packed (TRL's ``packing``), one a forward pass; 0 for none.
        dtype: of the base's weights; the trainer multiplies in bf16 in any case.
        attention: transformers' implementation.
        arguments: further ones of ``SFTConfig`` or ``DPOConfig``.
    """

    name: str
    batch: int
    grouped: bool = False
    packed: int = 0
    dtype: str = "bfloat16"
    attention: str = "sdpa"
    arguments: Mapping[str, Any] = field(default_factory=dict)


#: Found by search (docs/performance.md): of all that TRL offers on a CPU, these are the fastest.
SFT_SETTINGS = {
    "best": Setting("best", batch=2, grouped=True, attention="eager", arguments={"gradient_checkpointing": False}),
    "packing": Setting("packing", batch=1, packed=1024, arguments={"gradient_checkpointing": False}),
    "defaults": Setting("defaults", batch=8, dtype="float32"),
}
DPO_SETTINGS = {
    "best": Setting("best", batch=1, attention="eager", arguments={"gradient_checkpointing": False}),
    "defaults": Setting("defaults", batch=8, dtype="float32"),
}


def plan_course(sizes: Sequence[int], setting: Setting, *, step_rows: int, steps: int | None = None) -> Steps:
    """The rows of each optimizer step, about ``step_rows``, in the order that suits the peer.

    Whole steps alone: ``steps`` of them, or all that the rows give. The longest rows come
    first where rows are sorted, as transformers does it: a run's memory shows in its first step.
    """
    order = list(range(len(sizes)))
    random.Random(0).shuffle(order)
    if setting.packed:
        passes = _best_fit(order, sizes, tokens=setting.packed)
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
        rest = whole[1:]  # a run of a few steps must not see long rows alone
        random.Random(1).shuffle(rest)
        whole[1:] = rest
    if steps is not None and len(whole) < steps:
        raise SystemExit(f"{len(sizes)} rows give {len(whole)} steps, {steps} are asked for")
    return tuple(tuple(map(tuple, step)) for step in whole[:steps])


def _best_fit(order: Sequence[int], sizes: Sequence[int], *, tokens: int) -> list[list[int]]:
    """Best-fit decreasing into sequences of ``tokens``, as TRL packs by default; a longer row stands alone, whole."""
    bins: list[list[int]] = []
    room: list[int] = []
    for row in sorted(order, key=lambda row: sizes[row], reverse=True):
        fitting = [at for at, left in enumerate(room) if left >= sizes[row]]
        if not fitting:
            bins.append([])
            room.append(max(tokens, sizes[row]))
            fitting = [len(bins) - 1]
        best = min(fitting, key=lambda at: room[at])
        bins[best].append(row)
        room[best] -= sizes[row]
    return bins
