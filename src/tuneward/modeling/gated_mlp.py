"""The gated MLP, ``down(act(gate x) ∘ up x)`` (arXiv 2002.05202), as one function with LoRA inside.

Place on the road: put into a frozen model by ``fused``. Saved for the backward pass are x, gate and up, where the plain
form saves the activation and the product too: at a few additions and one activation more, a token takes half the
memory. Each layer computes what ``low_rank`` says; where a layer carries DoRA, dropout or no update at all, the layers
are called one by one and only the middle is fused. Knows no model and no file.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from tuneward.modeling.kernels.loading import fits
from tuneward.modeling.kernels.pointwise import gated_backward, gated_forward
from tuneward.modeling.lora import LoraLinear
from tuneward.modeling.low_rank import dense


def _gelu(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


def _gelu_slope(gradient: Tensor, x: Tensor) -> Tensor:
    return torch.ops.aten.gelu_backward(gradient, x, approximate="tanh")


#: Name → activation, and gradient of its input given that of its output.
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "silu": (functional.silu, torch.ops.aten.silu_backward),
    "gelu": (_gelu, _gelu_slope),
}


def activation_of(function: Callable[[Tensor], Tensor]) -> str | None:
    """Name of the activation that ``function`` computes, seen from its values in fp32; None for another one."""
    probe = torch.linspace(-9, 9, 257)
    for name, (ours, _) in ACTIVATIONS.items():
        if torch.allclose(function(probe), ours(probe), rtol=1e-6, atol=1e-6):
            return name
    return None


def gated_mlp(x: Tensor, gate: nn.Module, up: nn.Module, down: nn.Module, activation: str) -> Tensor:
    """``down(act(gate(x)) * up(x))``.

    Args:
        x: (…, hidden).
        gate: linear layer hidden → width, with or without its update.
        up: likewise.
        down: width → hidden.
        activation: a key of :data:`ACTIVATIONS`.

    Returns:
        (…, hidden) in the type of x.
    """
    layers = (gate, up, down)
    if all(isinstance(layer, LoraLinear) and _is_plain(layer) for layer in layers):
        factors = [factor for layer in cast(list[LoraLinear], layers) for factor in (layer.a, layer.b)]
        return cast(Tensor, _LoraMlp.apply(x, layers, activation, *factors))
    return cast(Tensor, down(_Gated.apply(gate(x), up(x), activation)))


def _is_plain(layer: LoraLinear) -> bool:
    return layer.magnitude is None and not (layer.training and layer.dropout) and not layer.is_idle


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, activation: str) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.activation = activation
        return _product(gate, up, activation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        gate, up = ctx.saved_tensors
        d_gate, d_up = _split(gradients[0], gate, up, ctx.activation)
        return d_gate, d_up, None


def _product(gate: Tensor, up: Tensor, activation: str) -> Tensor:
    """``act(gate) ∘ up``."""
    if _is_dense(gate, up):
        return gated_forward(gate, up, activation)
    return ACTIVATIONS[activation][0](gate).mul_(up)


def _is_dense(*tensors: Tensor) -> bool:
    return fits(*tensors) and all(t.is_contiguous() for t in tensors)


def _split(gradient: Tensor, gate: Tensor, up: Tensor, activation: str) -> tuple[Tensor, Tensor]:
    """Gradients of gate and up."""
    if _is_dense(gradient, gate, up):
        return gated_backward(gradient, gate, up, activation)
    act, slope = ACTIVATIONS[activation]
    active = act(gate)
    return slope(gradient * up, gate), active.mul_(gradient)


def _split_all(gradient: Tensor, gate: Tensor, up: Tensor, activation: str) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of gate and up, and ``act(gate) ∘ up``, which may take the memory of ``gradient``."""
    if _is_dense(gradient, gate, up):
        return *gated_backward(gradient, gate, up, activation, product=gradient), gradient
    act, slope = ACTIVATIONS[activation]
    active = act(gate)
    return slope(gradient * up, gate), gradient * active, active.mul_(up)


class _LoraMlp(torch.autograd.Function):
    """Saved: x, gate, up, three narrow products, and the factors in the activations' type."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: tuple[LoraLinear, ...], activation: str, *factors: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])  # (tokens, hidden)
        low = []
        for layer, a, b in zip(layers, factors[0::2], factors[1::2], strict=True):
            low += [a.to(x.dtype), (b * layer.scale).to(x.dtype)]
        gate, narrow_gate = _layer(flat, layers[0], low[0], low[1])
        up, narrow_up = _layer(flat, layers[1], low[2], low[3])
        product = _product(gate, up, activation)
        y, narrow_down = _layer(product, layers[2], low[4], low[5])
        ctx.save_for_backward(flat, gate, up, narrow_gate, narrow_up, narrow_down, *low)
        ctx.layers, ctx.activation, ctx.shape = layers, activation, x.shape
        return y.view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        flat, gate, up, narrow_gate, narrow_up, narrow_down, *low = ctx.saved_tensors
        layers: tuple[LoraLinear, ...] = ctx.layers
        g = gradients[0].reshape(-1, gradients[0].shape[-1])  # (tokens, hidden)
        d_narrow = torch.mm(g, low[5])
        d_product = torch.mm(g, dense(layers[2].base)).addmm_(d_narrow, low[4])  # (tokens, width)
        d_gate, d_up, product = _split_all(d_product, gate, up, ctx.activation)
        down = _factors(product, g, d_narrow, narrow_down, layers[2].scale)
        del product, d_product
        into_gate, into_up = torch.mm(d_gate, low[1]), torch.mm(d_up, low[3])  # (tokens, rank)
        gates = _factors(flat, d_gate, into_gate, narrow_gate, layers[0].scale)
        ups = _factors(flat, d_up, into_up, narrow_up, layers[1].scale)
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = torch.mm(d_gate, dense(layers[0].base)).addmm_(d_up, dense(layers[1].base))
            d_x = d_x.addmm_(into_gate, low[0]).addmm_(into_up, low[2]).view(ctx.shape)
        return d_x, None, None, *gates, *ups, *down


def _layer(flat: Tensor, layer: LoraLinear, a_low: Tensor, b_low: Tensor) -> tuple[Tensor, Tensor]:
    """A layer's output (tokens, out) and its narrow product (tokens, rank)."""
    narrow = torch.mm(flat, a_low.t())
    return functional.linear(flat, dense(layer.base), layer.base.bias).addmm_(narrow, b_low.t()), narrow


def _factors(flat: Tensor, g: Tensor, d_narrow: Tensor, narrow: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Gradients of a layer's A and B in fp32, given its input, its output's gradient and both narrow products."""
    return torch.mm(d_narrow.t(), flat).float(), torch.mm(g.t(), narrow).float().mul_(scale)
