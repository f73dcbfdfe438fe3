"""Models of true shapes with random weights, made layer by layer on the device: no file, no copy in full precision.

A quantised model's linear layers exist in bf16 one at a time, so that 70B never needs more than it keeps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

SPREAD = 0.02  # standard deviation of the weights


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder of the Llama family.

    Attributes:
        hidden: width.
        inner: width inside the feed-forward part.
        layers: number of layers.
        heads: of queries.
        kv_heads: of keys and values.
        vocabulary: rows of the embedding and of the head, which are not tied.
    """

    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int

    @property
    def linear_weights(self) -> int:
        """Weights of all layers' linear layers."""
        kv = self.hidden * self.kv_heads // self.heads
        return self.layers * (self.hidden * (2 * self.hidden + 2 * kv) + 3 * self.hidden * self.inner)

    def adapter_weights(self, rank: int) -> int:
        """Weights of a LoRA on all linear layers."""
        kv = self.hidden * self.kv_heads // self.heads
        pairs = [*[(self.hidden, self.hidden)] * 2, *[(self.hidden, kv)] * 2, *[(self.hidden, self.inner)] * 3]
        return self.layers * rank * sum(a + b for a, b in pairs)

    def flop_per_token(self, *, length: int, rank: int) -> float:
        """Floating-point operations of a LoRA step that no implementation can avoid, per token.

        A frozen weight is met twice (forward, input's gradient), a trained one three times, two operations each; causal
        attention multiplies six times (two forward, four backward) half a square of ``length``.
        """
        frozen = 4 * (self.linear_weights + self.vocabulary * self.hidden)
        attention = 6 * length * self.hidden * self.layers
        return frozen + 6 * self.adapter_weights(rank) + attention


SHAPES = {
    "8b": Shape(hidden=4096, inner=14336, layers=32, heads=32, kv_heads=8, vocabulary=128256),  # as Llama 3 8B
    "7b": Shape(hidden=4096, inner=11008, layers=32, heads=32, kv_heads=32, vocabulary=32000),  # as Llama 2 7B
    "70b": Shape(hidden=8192, inner=28672, layers=80, heads=64, kv_heads=8, vocabulary=32000),  # as Llama 2 70B
    "tiny": Shape(hidden=128, inner=256, layers=2, heads=4, kv_heads=2, vocabulary=512),  # to try a script out
}

Quantiser = Callable[[nn.Linear], nn.Module]


def build(shape: Shape, *, attention: str, device: str, quantiser: Quantiser | None = None) -> Any:
    """A frozen causal model in bf16.

    Args:
        shape: its sizes.
        attention: name of the attention that transformers shall use.
        device: where it is made.
        quantiser: turns a linear layer into its packed form; every one but the output head. None for none.
    """
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        vocab_size=shape.vocabulary,
        max_position_embeddings=8192,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation=attention)
    generator = torch.Generator(device).manual_seed(0)
    head: Any = model.get_output_embeddings()
    for path, module in list(model.named_modules()):
        for name, empty in list(module.named_parameters(recurse=False)):
            weight = torch.empty(empty.shape, dtype=torch.bfloat16, device=device)
            if weight.ndim == 1:
                weight.fill_(1.0)
            else:
                weight.normal_(0.0, SPREAD, generator=generator)
            setattr(module, name, nn.Parameter(weight, requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.to(device))
        if quantiser is not None and type(module) is nn.Linear and module is not head:
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, quantiser(module))
    return model.eval()


def ours(shape: Shape, *, quantised: bool, device: str) -> Any:
    """The model as Tuneward trains it."""
    from tuneward.modeling import attention
    from tuneward.modeling.quantisation import Nf4Linear

    quantiser = cast(Quantiser, Nf4Linear) if quantised else None
    return build(shape, attention=attention.NAME, device=device, quantiser=quantiser)


def theirs(shape: Shape, *, quantised: bool, device: str) -> Any:
    """The model as PEFT and TRL train it; packed by bitsandbytes' own layer, as transformers would on loading."""
    if not quantised:
        return build(shape, attention="sdpa", device=device)
    import bitsandbytes

    def pack(linear: nn.Linear) -> nn.Module:
        packed = bitsandbytes.nn.Linear4bit(
            linear.in_features,
            linear.out_features,
            bias=False,
            compute_dtype=torch.bfloat16,
            compress_statistics=True,
            quant_type="nf4",
            device="meta",
        )
        packed.weight = bitsandbytes.nn.Params4bit(
            linear.weight.detach(), requires_grad=False, compress_statistics=True, quant_type="nf4"
        ).to(device)
        return packed

    model = build(shape, attention="sdpa", device=device, quantiser=pack)
    model.is_loaded_in_4bit = True
    return model


def matrix_rate(device: str, *, size: int = 8192, seconds: float = 2.0) -> float:
    """Floating-point operations a second that the device reaches in square bf16 products: the best of many."""
    import time

    if device == "cpu":
        size = 1024
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best, started = 0.0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        begun = time.perf_counter()
        for _ in range(10):
            torch.mm(left, right)
        wait(device)
        best = max(best, 20 * size**3 / (time.perf_counter() - begun))
    return best


def wait(device: str) -> None:
    """Until the device has done all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
