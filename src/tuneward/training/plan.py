"""The plan of a run: what it trains, how long it is, how much memory it takes.

Place on the road: after rows and model are loaded, before the first step; ``fitting`` refuses what is too large. What a
window leaves in memory was measured (``footprint``), the rest is counted. Knows sizes, not values.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tuneward.modeling.base_model import OutputHead
from tuneward.modeling.experts import find_stacks
from tuneward.modeling.layers import decoder_layers
from tuneward.modeling.lora import unreached
from tuneward.modeling.machine import available_memory_bytes
from tuneward.modeling.packed import PackedDocuments
from tuneward.modeling.quantisation import weight_bytes, weight_count
from tuneward.training.batches import ROUND_TOKENS, Step, Window
from tuneward.training.config import TrainingConfig
from tuneward.training.footprint import Footprint
from tuneward.training.losses.head import ROUND_ROWS, logit_bytes, whole_bytes
from tuneward.training.optimizer import STATE_BYTES
from tuneward.training.rows import Row

MIB = 2**20

#: What Python, torch and transformers take where it cannot be looked at, because the run is on paper (measured).
RUNTIME_BYTES = 450 * MIB

#: What an allocator holds beyond what is in use, because windows differ in size: a share of what comes and goes
#: (a guess that plans are held against: docs/performance.md, "Plans").
SLACK = {"cpu": 0.12, "cuda": 0.05}

#: Code that oneDNN makes on a CPU for bf16 products of a shape it has not met, in bytes: for each shape of attention's
#: blocks, each width of a window and each number of learned tokens; it keeps about a thousand products at most
#: (fitted by hand to two runs: docs/performance.md, "Plans").
BLOCK_CODE, WIDTH_CODE, HEAD_CODE, MOST_CODE = int(3.9 * MIB), 8 * MIB, int(2.6 * MIB), 500 * MIB

#: Rows that are looked at for the shapes of their blocks.
SHAPED_ROWS = 512

#: Of the run's windows, so many of the largest are laid out to find the one that takes most.
CANDIDATES = 4


@dataclass(frozen=True)
class Plan:
    """What a run will do and take.

    Attributes:
        method: such as ``sft``.
        precision: ``bf16`` or ``fp32``.
        device: ``cpu`` or ``cuda``.
        processes: that train together.
        base_parameters: parameters of the frozen base.
        trained_parameters: parameters of the adapter.
        rows: rows of the dataset.
        tokens: tokens of the whole run, prompts included, all epochs.
        trained_tokens: learned tokens among them.
        longest_row: tokens of the longest row.
        widest_window: tokens of the widest window.
        steps: optimizer steps.
        windows: passes through the model.
        floating_operations: of the unavoidable matrix products: 4 per frozen parameter and token (no weight gradients),
            6 per trained one, the head on learned tokens only.
        six_nd: the customary count: 6 per parameter and token.
        memory: part → bytes at the peak.
        reached: highest memory so far, in bytes; loading may have taken more than training will.
        not_reached: weights of the base that no update reaches, in words; empty where it reaches all.
        kept_whole: weights that four bits leave as they are, of a mixture, in words; empty where there are none.
    """

    method: str
    precision: str
    device: str
    processes: int
    base_parameters: int
    trained_parameters: int
    rows: int
    tokens: int
    trained_tokens: int
    longest_row: int
    widest_window: int
    steps: int
    windows: int
    floating_operations: float
    six_nd: float
    memory: dict[str, int]
    reached: int = 0
    not_reached: str = ""
    kept_whole: str = ""

    @property
    def needed_bytes(self) -> int:
        """Memory that training takes at its peak."""
        return sum(self.memory.values())

    @property
    def peak_bytes(self) -> int:
        """Predicted peak memory of the process."""
        return max(self.needed_bytes, self.reached)

    def to_json(self) -> dict[str, Any]:
        """The plan as the training process prints it."""
        return {**asdict(self), "peak_bytes": self.peak_bytes}


def make_plan(
    model: PreTrainedModel,
    *,
    rows: Sequence[Row],
    steps: Sequence[Step],
    config: TrainingConfig,
    precision: str,
    footprint: Footprint,
    masters: Mapping[str, Tensor],
    resident: int | None = None,
    reached: int = 0,
    processes: int = 1,
) -> Plan:
    """Count parameters, tokens, operations and memory of a run whose adapter is already in ``model``.

    Memory is that of one process; of ``processes``, each holds a part of the frozen base, or of all masters.

    Args:
        model: the base with what is trained.
        rows: the dataset.
        steps: the course of the run.
        config: the training section.
        precision: ``bf16`` or ``fp32``.
        footprint: what a window leaves.
        masters: what the optimizer moves, as far as this process holds it.
        resident: bytes that this process has now, with model and masters; None for a run on paper.
        reached: the most that it has had.
        processes: that train together.
    """
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = weight_count(model) - trained
    products = Products.of(model)
    tokens, learned = sum(step.tokens for step in steps), sum(step.trained for step in steps)
    held, lying = _held(model, masters, precision, processes)
    moved = sum(p.numel() for p in masters.values())
    missed = None if config.adapter.kind == "full" else unreached(model)
    windows = [window for step in steps for window in step.windows]
    runtime = RUNTIME_BYTES if resident is None else max(0, resident - lying - 4 * moved)
    return Plan(
        method=config.method,
        precision=precision,
        device=model.device.type,
        processes=processes,
        base_parameters=frozen,
        trained_parameters=trained,
        rows=len(rows),
        tokens=tokens,
        trained_tokens=learned,
        longest_row=max(row.size for row in rows),
        widest_window=max(sum(rows[i].size for i in window) for window in windows),
        steps=len(steps),
        windows=len(windows),
        floating_operations=products.operations(tokens, learned),
        six_nd=6.0 * (frozen + trained) * tokens,
        memory={
            "runtime": runtime,
            "weights": held,
            "adapter": 4 * moved,
            "gradients": 4 * moved,
            "optimizer": int(STATE_BYTES[config.optimizer] * moved),
            **passing(model, rows, windows, config, footprint),
            "code": code_bytes(rows, steps, footprint) if precision == "bf16" and footprint.keeps else 0,
        },
        reached=reached,
        not_reached="" if missed is None else str(missed),
        kept_whole=_kept_whole(model, frozen, precision) if config.adapter.kind == "qlora" else "",
    )


def _kept_whole(model: PreTrainedModel, frozen: int, precision: str) -> str:
    experts = sum(stack.weight.numel() for _, stack in find_stacks(model))
    return f"{experts / frozen:.0%} of the base are experts, which stay in {precision}" if experts else ""


def _held(model: PreTrainedModel, masters: Mapping[str, Tensor], precision: str, processes: int) -> tuple[int, int]:
    """Bytes of the weights that are no masters: at the peak, and now."""
    shared = {p.data_ptr() for p in masters.values()}
    learning = [p for p in model.parameters() if p.requires_grad and (p.data_ptr() in shared or processes > 1)]
    lying = weight_bytes(model) - sum(p.numel() * p.element_size() for p in learning)
    if processes == 1:
        return lying, lying
    # four-bit weights are whole in each, the base's matrices are in parts
    parts = sum(p.numel() * p.element_size() for p in model.parameters() if not p.requires_grad)
    lying += parts // processes - parts
    return lying + gathered_bytes(model, precision), lying


def passing(
    model: PreTrainedModel,
    rows: Sequence[Row],
    windows: Sequence[Sequence[int]],
    config: TrainingConfig,
    footprint: Footprint,
) -> dict[str, int]:
    """Part → bytes of what comes and goes with a window, of the window that takes most."""
    head = OutputHead.of(model)
    vocabulary, hidden = head.weight.shape
    itemsize, logit = model.dtype.itemsize, logit_bytes(head, model.dtype)
    made = whole_bytes(head.weight, config.head_memory_mib * MIB)  # of a head in four bits
    most: dict[str, int] = {}
    sizes = {i: rows[i].size for window in windows for i in window}
    for window in _largest(windows, sizes):
        packed = Window.pack([rows[i] for i in window], round_to=ROUND_TOKENS)
        learned = packed.places.shape[0]
        saved = footprint.saved(packed.layout, config.recompute)
        logits = min(config.head_memory_mib * MIB, learned * vocabulary * logit) + made
        states = 2 * learned * hidden * itemsize  # of the learned places: themselves, and their gradient
        working = footprint.working.at(packed.ids.shape[1])
        # logits are gone when the backward pass begins: the larger of the two counts, the head's part is whole
        beside = max(0.0, working - logits)
        slack = SLACK[model.device.type if model.device.type in SLACK else "cpu"] * (saved + states + beside)
        parts = {"activations": saved, "backward": beside, "loss_head": logits + states, "slack": slack}
        if sum(parts.values()) > sum(most.values()):
            most = {name: int(size) for name, size in parts.items()}
    return most


def code_bytes(rows: Sequence[Row], steps: Sequence[Step], footprint: Footprint) -> int:
    """What a CPU's product library will have written for the shapes that this run has."""
    windows = [window for step in steps for window in step.windows]
    numbers = sorted({i for window in windows for i in window})
    blocks: set[tuple[int, int]] = set()
    for number in numbers[:: -(-len(numbers) // SHAPED_ROWS)]:
        row = rows[number]
        lengths = (row.ids.size, *(branch.size for branch in row.branches))
        layout = PackedDocuments(lengths, (None, *(0 for _ in row.branches)))
        for attention in {a for a in footprint.attention if not a.compiled}:
            blocks |= layout.block_shapes(attention.heads, attention.kv_heads, attention.scoring)
    widths = {-(-sum(rows[i].size for i in window) // ROUND_TOKENS) for window in windows}
    learned = {-(-sum(rows[i].trained for i in window) // ROUND_ROWS) for window in windows}
    return min(MOST_CODE, BLOCK_CODE * len(blocks) + WIDTH_CODE * len(widths) + HEAD_CODE * len(learned))


def _largest(windows: Sequence[Sequence[int]], sizes: Mapping[int, int]) -> Iterable[Sequence[int]]:
    by_tokens = sorted(windows, key=lambda window: -sum(sizes[i] for i in window))
    by_squares = sorted(windows, key=lambda window: -sum(sizes[i] ** 2 for i in window))
    return by_tokens[:CANDIDATES] + by_squares[:CANDIDATES]


@dataclass(frozen=True)
class Products:
    """Weights by what their products cost.

    Attributes:
        frozen: weights of the layers that stay as they are.
        trained: weights that are moved; they are met a third time.
        head: weights of the output head, met by learned tokens only.
        head_trained: whether it is moved.
    """

    frozen: int
    trained: int
    head: int
    head_trained: bool

    @classmethod
    def of(cls, model: PreTrainedModel) -> "Products":
        """Count those of a model; looking up embeddings is no product."""
        embedding: Any = model.get_input_embeddings()
        head: Any = model.get_output_embeddings()
        ends = {id(embedding.weight), id(head.weight)}
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad and id(p) not in ends)
        tied = head.weight is embedding.weight
        outside = embedding.weight.numel() + (0 if tied else head.weight.numel())
        frozen = weight_count(model) - outside - trained
        return cls(frozen, trained, head.weight.numel(), bool(head.weight.requires_grad))

    def operations(self, tokens: int, learned: int) -> float:
        """Floating-point operations that cannot be avoided, attention's left out."""
        return float(
            tokens * (4 * self.frozen + 6 * self.trained) + learned * (6 if self.head_trained else 4) * self.head
        )


def gathered_bytes(model: PreTrainedModel, precision: str) -> int:
    """What a process of several holds whole beside its shards: what lies outside the layers, and two layers."""
    layers = [sum(p.numel() for p in layer.parameters()) for layer in decoder_layers(model)]
    outside = sum(p.numel() for p in model.parameters()) - sum(layers)
    return (outside + 2 * max(layers, default=0)) * (2 if precision == "bf16" else 4)


def available_bytes(processes: int = 1, device: str = "cpu") -> int | None:
    """Memory that this process may take in all: what it has and what can still be had; None where nothing tells.

    Args:
        processes: how many like this one share what can be had.
        device: ``cpu``, or ``cuda`` for the memory of the current device.
    """
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info()
        return free + torch.cuda.memory_reserved()
    if not Path("/proc/self/status").is_file():
        return None
    return available_memory_bytes() // processes + (resident_bytes() or 0)


def resident_bytes(device: str = "cpu") -> int | None:
    """Memory of this process now: of its tensors on a GPU, of all that it has on a CPU; None where nothing tells."""
    if device.startswith("cuda"):
        return int(torch.cuda.memory_allocated())
    path = Path("/proc/self/status")
    if not path.is_file():
        return None
    status = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    return int(status["VmRSS"].split()[0]) * 1024
