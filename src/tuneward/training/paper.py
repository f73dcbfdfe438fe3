"""A model on paper: the architecture and what would be trained, with sizes and without a single weight.

Place on the road: beside ``plan``, for runs that this machine cannot hold and for alternatives that it might.
Everything lies on torch's meta device, so shapes of 70B take seconds and no memory. Four-bit layers are counted, not
made.
"""

from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from tuneward.modeling import attention
from tuneward.modeling.base_model import DTYPES, Precision
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.fused import fuse
from tuneward.modeling.lora import LoraLinear, add_lora
from tuneward.training.footprint import Footprint, Line, measure

#: Bytes per weight of a four-bit layer: half a byte, and a byte and a bit per 64 and 256 of them (benchmarks).
FOUR_BIT_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)

#: Any ids will do where there are no values.
IDS = tuple(range(64))


def on_paper(config: PreTrainedConfig, adapter: AdapterConfig, *, precision: Precision) -> PreTrainedModel:
    """The model of ``config`` with what ``adapter`` trains, on the meta device."""
    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(
            config,
            dtype=DTYPES[precision],
            attn_implementation=attention.NAME,
        )
    model = cast(PreTrainedModel, made).eval()
    if adapter.kind == "full":
        model.requires_grad_(True)
        return model
    fuse(model)
    for layer in add_lora(model, adapter, seed=0).values():
        layer.train()
    return model


def paper_footprint(config: PreTrainedConfig, adapter: AdapterConfig, *, precision: Precision) -> Footprint:
    """What windows of such a run would leave in memory.

    Some products of experts exist on the meta device in bf16 only; in fp32 everything is then taken to be twice as
    large.
    """
    try:
        return measure(on_paper(config, adapter, precision=precision), IDS)
    except RuntimeError:
        if precision == "bf16":
            raise
        return _doubled(measure(on_paper(config, adapter, precision="bf16"), IDS))


def _doubled(footprint: Footprint) -> Footprint:
    def twice(line: Line) -> Line:
        return Line(2 * line.fixed, 2 * line.per_token)

    return replace(
        footprint,
        layers=tuple(map(twice, footprint.layers)),
        outside=twice(footprint.outside),
        entry=2 * footprint.entry,
        working=twice(footprint.working),
        attention=tuple(replace(attention, bytes=2 * attention.bytes) for attention in footprint.attention),
    )


def four_bit_saving(model: nn.Module) -> int:
    """Bytes that four-bit layers would save of a model with an adapter on them."""
    targets: list[Any] = [m.base for m in model.modules() if isinstance(m, LoraLinear)]
    targets = [base for base in targets if isinstance(base, nn.Linear)]
    saved = sum(base.weight.numel() * (base.weight.element_size() - FOUR_BIT_BYTES) for base in targets)
    # one layer is made whole while it is used
    return int(saved) - max((base.weight.numel() * base.weight.element_size() for base in targets), default=0)
