"""Layers: time of one linear layer with its update, forward and backward, against PEFT's and the frozen layer alone.

``python benchmarks/adapter_layers.py`` takes the shapes of SmolLM2-135M's widest layers, 1,024 tokens, rank 16, bf16,
one thread, and runs every kind in turn; printed are the medians, and last PEFT's time divided by ours for each kind.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora.layer import Linear as PeftLinear
from torch import Tensor, nn

from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.lora import LoraLinear
from tuneward.modeling.quantisation import Nf4Linear

TOKENS, RANK, ROUNDS = 1024, 16, 15
SHAPES = [(576, 1536), (1536, 576)]
KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "dropout": {"dropout": 0.05},
    "dora": {"dora": True},
    "dora, dropout": {"dora": True, "dropout": 0.05},
}


def frozen(width: int, height: int) -> nn.Linear:
    return nn.Linear(width, height, bias=False, dtype=torch.bfloat16).requires_grad_(False)


def ours(base: nn.Module, settings: dict[str, Any]) -> nn.Module:
    config = AdapterConfig(rank=RANK, alpha=2 * RANK, **settings)
    return LoraLinear(base, config, torch.Generator().manual_seed(0)).train()


def pefts(base: nn.Linear, settings: dict[str, Any]) -> nn.Module:
    config = LoraConfig(
        r=RANK, lora_alpha=2 * RANK, lora_dropout=settings.get("dropout", 0.0), use_dora=settings.get("dora", False)
    )
    layer = PeftLinear(base, "default", r=RANK, lora_alpha=2 * RANK, config=config)
    for part in (layer.lora_A, layer.lora_B, layer.lora_magnitude_vector):
        part.float()  # as PEFT keeps them beside a bf16 base
    return layer.train()


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ratios: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for width, height in SHAPES:
        layers: dict[str, Callable[[Tensor], Tensor]] = {"frozen": frozen(width, height)}
        for kind, settings in KINDS.items():
            layers[f"ours: {kind}"] = ours(frozen(width, height), settings)
            layers[f"PEFT: {kind}"] = pefts(frozen(width, height), settings)
        layers["ours: qlora"] = ours(Nf4Linear(frozen(width, height)), {})
        x = torch.randn(TOKENS, width, dtype=torch.bfloat16).requires_grad_()
        gradient = torch.randn(TOKENS, height, dtype=torch.bfloat16)
        seconds: dict[str, list[float]] = {name: [] for name in layers}
        for _ in range(ROUNDS):
            for name, layer in layers.items():
                started = time.perf_counter()
                layer(x).backward(gradient)
                seconds[name].append(time.perf_counter() - started)
        floor = median(seconds["frozen"])
        for name, found in seconds.items():
            taken = median(found)
            print(f"{width} to {height}  {name:20} {taken * 1e3:7.1f} ms  {taken / floor:5.2f} of the frozen layer")
        for kind, found in ratios.items():
            found.append(median(seconds[f"PEFT: {kind}"]) / median(seconds[f"ours: {kind}"]))
    print(
        "PEFT's time / ours: "
        + ", ".join(f"{kind} {min(found):.1f} to {max(found):.1f}" for kind, found in ratios.items())
    )


if __name__ == "__main__":
    main()
