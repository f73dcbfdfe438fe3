"""The plan of a run: what it trains, how long it is, how much memory it takes; refuses what cannot fit.

Place on the road: after rows and model are loaded, before the first step. Knows sizes, not values.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from tuneward.errors import Fault, TrainingError
from tuneward.modeling.lora import LoraLinear
from tuneward.modeling.machine import available_memory_bytes
from tuneward.modeling.packed import KEPT_TOKENS
from tuneward.modeling.quantisation import weight_bytes, weight_count
from tuneward.training.batches import Step
from tuneward.training.config import TrainingConfig
from tuneward.training.optimizer import STATE_BYTES
from tuneward.training.recompute import recomputed_layers
from tuneward.training.rows import Row
from tuneward.training.sharding import decoder_layers

MIB = 2**20

#: What Python, torch and transformers take before anything is loaded, in bytes (measured).
RUNTIME_BYTES = 450 * MIB

#: Saved values per token and layer, as multiples of (hidden, intermediate) width: residuals, normalised states and the
#: attention's result; gate, up, the gate's activation and their product.
HIDDEN_COPIES, WIDE_COPIES = 6.0, 4.0

#: Blocks of attention weights are about this share of the square of a short document's length.
KEPT_SHARE = 0.75

#: What the allocator holds beyond what is in use, because windows differ in size (measured; docs/performance.md).
SLACK = 1.2


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
        memory: part → bytes at the peak.
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
    memory: dict[str, int]

    @property
    def peak_bytes(self) -> int:
        """Predicted peak memory of the process."""
        return sum(self.memory.values())

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
    processes: int = 1,
) -> Plan:
    """Count parameters, tokens, operations and memory of a run whose adapter is already in ``model``.

    Memory is that of one process; of ``processes``, each holds a part of the frozen base, or of all masters.
    """
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = weight_count(model) - trained
    embedding: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    inner = frozen - embedding.weight.numel() - (0 if head.weight is embedding.weight else head.weight.numel())
    tokens, learned = sum(step.tokens for step in steps), sum(step.trained for step in steps)
    learning = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    masters = trained // processes if config.adapter.kind == "full" else trained
    held = weight_bytes(model) - learning
    if processes > 1:  # four-bit weights are whole in each, the base's matrices are in parts
        parts = sum(p.numel() * p.element_size() for p in model.parameters() if not p.requires_grad)
        held += parts // processes - parts + gathered_bytes(model, precision)
    widest = max(sum(rows[i].size for i in window) for step in steps for window in step.windows)
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
        widest_window=widest,
        steps=len(steps),
        windows=sum(len(step.windows) for step in steps),
        floating_operations=float(tokens * (4 * inner + 6 * trained) + learned * 4 * head.weight.numel()),
        memory={
            "runtime": RUNTIME_BYTES,
            "weights": held,
            "adapter": 4 * masters,
            "gradients": 4 * masters,
            "optimizer": int(STATE_BYTES[config.optimizer] * masters),
            "activations": int(SLACK * widest * _bytes_per_token(model, rows, config.recompute)),
            "loss_head": config.head_memory_mib * MIB + widest * embedding.weight.shape[1] * model.dtype.itemsize,
        },
    )


def gathered_bytes(model: PreTrainedModel, precision: str) -> int:
    """What a process of several holds whole beside its shards: what lies outside the layers, and two layers."""
    layers = [sum(p.numel() for p in layer.parameters()) for layer in decoder_layers(model)]
    outside = sum(p.numel() for p in model.parameters()) - sum(layers)
    return (outside + 2 * max(layers, default=0)) * (2 if precision == "bf16" else 4)


def _bytes_per_token(model: nn.Module, rows: Sequence[Row], setting: bool | int = False) -> float:
    """Bytes that one token's forward pass leaves for its backward pass, over all layers.

    A recomputed layer leaves its input, and one of them at a time is there whole.
    """
    short = [row.ids.size for row in rows if row.ids.size <= KEPT_TOKENS]
    kept = KEPT_SHARE * sum(size * size for size in short) / sum(row.ids.size for row in rows)
    config: Any = model.config
    text: Any = config.get_text_config()
    layers, hidden = text.num_hidden_layers, text.hidden_size
    wide = getattr(text, "intermediate_size", None) or 4 * hidden
    heads = text.num_attention_heads + 2 * (getattr(text, "num_key_value_heads", None) or text.num_attention_heads)
    head_width = getattr(text, "head_dim", None) or hidden // text.num_attention_heads
    ranks = sum(m.a.shape[0] for m in model.modules() if isinstance(m, LoraLinear))
    dtype: torch.dtype = next(model.parameters()).dtype
    per_layer = HIDDEN_COPIES * hidden + heads * head_width + WIDE_COPIES * wide + text.num_attention_heads * kept
    again = recomputed_layers(layers, setting)
    whole = layers - max(0, again - 1)
    return dtype.itemsize * (whole * per_layer + again * hidden + ranks * whole / layers)


def refuse_what_cannot_fit(plan: Plan, available: int | None) -> None:
    """Refuse a plan whose predicted peak exceeds what the machine has left.

    Args:
        plan: with the base already loaded.
        available: bytes that this process may take in all, or None where that is unknown.

    Raises:
        TrainingError: with the parts, and the nearest settings that would fit.
    """
    if available is None or plan.peak_bytes <= available:
        return
    parts = ", ".join(f"{name} {size / MIB:,.0f}" for name, size in plan.memory.items())
    over = plan.peak_bytes - available
    fitting = int(plan.widest_window * (1 - over / plan.memory["activations"])) if plan.memory["activations"] else 0
    if fitting >= plan.longest_row:
        cure = f"set training.window_tokens to {fitting}; the result stays the same"
    elif fitting >= 0.2 * plan.widest_window:
        cure = f"leave out or split rows of more than {fitting} tokens, and set training.window_tokens to {fitting}"
    else:
        cure = "choose a smaller base or a machine with more memory"
    told = f"about {plan.peak_bytes / MIB:,.0f} MiB needed ({parts}), {available / MIB:,.0f} MiB free"
    raise TrainingError(Fault("TW-TRAIN-006", told, "training.window_tokens", cure))


def available_bytes(processes: int = 1) -> int | None:
    """Memory that this process may take in all: what it has and what can still be had; None where nothing tells.

    Args:
        processes: how many like this one share what can be had.
    """
    if not Path("/proc/self/status").is_file():
        return None
    return available_memory_bytes() // processes + resident_bytes()


def resident_bytes() -> int:
    """Memory of this process now."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(status["VmRSS"].split()[0]) * 1024
