"""Experts: time and memory of one module of experts with its updates, forward and backward, against PEFT's.

``python -m benchmarks.expert_layers`` takes 32 experts of width 512 between hidden states of 1,024, 4 chosen for each
of 1,024 tokens, rank 8, bf16, one thread, and runs the library's frozen module, ours and PEFT's in turn. Printed are
the median seconds, and what the forward pass keeps for the backward pass beside weights and factors.
"""

import time
from statistics import median

import torch
from peft import LoraConfig
from peft.tuners.lora.layer import ParamWrapper
from torch import Tensor, nn
from transformers import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralExperts

from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.experts import stacks_of
from tuneward.modeling.lora import ExpertUpdate, LoraExperts

EXPERTS, HIDDEN, WIDTH, CHOSEN, TOKENS, RANK, ROUNDS = 32, 1024, 512, 4, 1024, 8, 7


def frozen() -> MixtralExperts:
    config = MixtralConfig(hidden_size=HIDDEN, intermediate_size=WIDTH, num_local_experts=EXPERTS)
    config._experts_implementation = "grouped_mm"
    module = MixtralExperts(config)
    module.to(torch.bfloat16).requires_grad_(False)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.02)
    return module


def ours() -> nn.Module:
    base, generator = frozen(), torch.Generator().manual_seed(0)
    config = AdapterConfig(rank=RANK, alpha=2 * RANK)
    updates = {name: ExpertUpdate(stack, config, generator) for name, stack in stacks_of(base).items()}
    return LoraExperts(base, updates).train()


def pefts() -> nn.Module:
    module: nn.Module = frozen()
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK)
    for name in ("gate_up_proj", "down_proj"):
        module = ParamWrapper(module, "default", name, config, r=RANK, lora_alpha=2 * RANK)
    for part in module.modules():  # as PEFT keeps them beside a bf16 base
        if isinstance(part, ParamWrapper):
            part.lora_A.float()
            part.lora_B.float()
    return module.train()


def one_pass(layer: nn.Module, given: tuple[Tensor, Tensor, Tensor]) -> tuple[float, float]:
    """Seconds, and MiB kept."""
    own = {p.untyped_storage()._cdata for p in (*layer.parameters(), *given)}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        layer(*given)
    started = time.perf_counter()
    layer(*given).sum().backward()
    seconds = time.perf_counter() - started
    return seconds, sum(size for at, size in kept.items() if at not in own) / 2**20


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.randn(TOKENS, HIDDEN, dtype=torch.bfloat16).requires_grad_()
    index = torch.rand(TOKENS, EXPERTS).topk(CHOSEN).indices
    weights = torch.rand(TOKENS, CHOSEN, dtype=torch.bfloat16)
    layers = {"frozen": frozen(), "ours": ours(), "PEFT": pefts()}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in layers}
    for _ in range(ROUNDS):
        for name, layer in layers.items():
            found[name].append(one_pass(layer, (x, index, weights)))
    for name, passes in found.items():
        seconds, kept = (median(values) for values in zip(*passes, strict=True))
        print(f"{name}: {seconds:.3f} s, {kept:.1f} MiB kept")


if __name__ == "__main__":
    main()
