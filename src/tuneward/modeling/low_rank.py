"""Low-rank products: the arithmetic of a linear layer with its update, forward and backward.

Place on the road: beneath ``lora`` (training), ``adapter_bank`` (serving) and whoever merges, so that all three compute
one thing. The input is never cast up, and no weight is kept that can be made again: a quantised base is dequantised in
the forward pass and once more in the backward pass. Knows no module tree, no settings and no file.

Shapes: x (tokens, in), W (out, in), A (rank, in), B (out, rank), magnitude m (out,). ``s`` is the update's scale.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuneward.modeling.quantisation import Nf4Linear

Frozen = nn.Linear | Nf4Linear

#: Integers as wide as the floating-point types, by bytes.
_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def dense(base: Frozen) -> Tensor:
    """(out, in): the weight of a frozen layer; made anew at each call where the layer is quantised."""
    return base.dequantise() if isinstance(base, Nf4Linear) else base.weight


def lora_product(
    x: Tensor, base: Frozen, a: Tensor, b: Tensor, *, scale: float, keep: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """``x Wᵀ + bias + s (x ∘ keep / (1 - dropout)) Aᵀ Bᵀ`` with gradients for x, A and B only.

    Saved for the backward pass: x (which the layer's siblings share), the narrow product x Aᵀ, and the mask.

    Args:
        x: (…, in).
        base: the frozen layer.
        a: (rank, in), fp32.
        b: (out, rank), fp32.
        scale: s.
        keep: int8 mask (tokens, in), -1 where an element is kept on the update's path and 0 where it is dropped.
        dropout: probability that the mask was drawn with.

    Returns:
        (…, out) in the type of x.
    """
    return cast(Tensor, _LoraProduct.apply(x, base, a, b, scale / (1 - dropout), keep))


def dora_product(
    x: Tensor,
    base: Frozen,
    a: Tensor,
    b: Tensor,
    magnitude: Tensor,
    squares: Tensor,
    *,
    scale: float,
    keep: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """``x Wᵀ + bias + (g - 1) ∘ x̃ Wᵀ + g ∘ s x̃ Aᵀ Bᵀ`` with g = m / ‖W + s B A‖ and x̃ = x ∘ keep / (1 - dropout).

    DoRA (arXiv 2402.09353, equations 5 and 6; section 4.3: no gradient passes the norm). Without dropout it is
    ``g ∘ x (W + s B A)ᵀ + bias``, one product with W. With dropout the paper's code and PEFT keep elements in front of
    W too, which takes a second one. Gradients for x, A, B and m.

    Args:
        x: (…, in).
        base: the frozen layer.
        a: (rank, in), fp32.
        b: (out, rank), fp32.
        magnitude: m (out,), fp32.
        squares: (out,), fp32: the squared length of each row of W.
        scale: s.
        keep: as in :func:`lora_product`.
        dropout: probability that the mask was drawn with.
    """
    return cast(Tensor, _DoraProduct.apply(x, base, a, b, magnitude, squares, scale, keep, 1 / (1 - dropout)))


def row_squares(weight: Tensor) -> Tensor:
    """(out, in) → (out,): the squared length of each row, fp32."""
    return torch.linalg.vector_norm(weight, dim=1, dtype=torch.float32).square_()


def row_norms(weight: Tensor, a: Tensor, b: Tensor, squares: Tensor) -> Tensor:
    """(out,) fp32: the length of each row of ``W + B A``, without ever making ``B A``.

    ``‖w + b A‖² = ‖w‖² + b · (2 A w + A Aᵀ b)`` for a row w of W and b of B.

    Args:
        weight: W.
        a: A in W's type.
        b: ``s B`` in W's type.
        squares: ``row_squares(weight)``.
    """
    wide = b.float()  # (out, rank)
    mixed = torch.mm(weight, a.t()).float().mul_(2)  # (out, rank)
    mixed.addmm_(wide, torch.mm(a.float(), a.float().t()))
    return mixed.mul_(wide).sum(1).add_(squares).clamp_(min=torch.finfo(torch.float32).tiny).sqrt_()


def excess(magnitude: Tensor, norms: Tensor, dtype: torch.dtype) -> Tensor:
    """(out,): ``g - 1`` in the activations' type, where small departures of g from 1 survive rounding."""
    return (magnitude / norms).sub_(1).to(dtype)


def merged_weight(weight: Tensor, a: Tensor, b: Tensor, *, scale: float, magnitude: Tensor | None = None) -> Tensor:
    """``W + s B A``, each row brought to its magnitude where there is one; computed in fp32, in the type of W."""
    whole = weight.float().addmm(b.float(), a.float(), alpha=scale)
    if magnitude is not None:
        whole *= (magnitude / torch.linalg.vector_norm(whole, dim=1)).unsqueeze(1)
    return whole.to(weight.dtype)


class _LoraProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, base: Frozen, a: Tensor, b: Tensor, scale: float, keep: Tensor | None) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        a_low, b_low = a.to(x.dtype), (b * scale).to(x.dtype)
        narrow = torch.mm(_without(flat, keep), a_low.t())  # (tokens, rank)
        y = functional.linear(flat, dense(base), base.bias).addmm_(narrow, b_low.t())
        ctx.save_for_backward(flat, a_low, b_low, narrow, keep)
        ctx.base, ctx.scale, ctx.shape = base, scale, x.shape
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        flat, a_low, b_low, narrow, keep = ctx.saved_tensors
        g = gradients[0].reshape(-1, b_low.shape[0])  # (tokens, out)
        d_narrow = torch.mm(g, b_low)  # (tokens, rank)
        d_b = torch.mm(g.t(), narrow).float().mul_(ctx.scale)
        d_a = torch.mm(d_narrow.t(), _without(flat, keep)).float()
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = torch.mm(g, dense(ctx.base))
            if keep is None:
                d_x.addmm_(d_narrow, a_low)
            else:
                d_x += _clear(torch.mm(d_narrow, a_low), keep)
            d_x = d_x.view(ctx.shape)
        return d_x, None, d_a, d_b, None, None


class _DoraProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        base: Frozen,
        a: Tensor,
        b: Tensor,
        magnitude: Tensor,
        squares: Tensor,
        scale: float,
        keep: Tensor | None,
        kept: float,
    ) -> Tensor:
        flat, weight = x.reshape(-1, x.shape[-1]), dense(base)
        a_low, b_low = a.to(x.dtype), (b * scale).to(x.dtype)
        norms = row_norms(weight, a_low, b_low, squares)
        more = excess(magnitude, norms, x.dtype)
        seen = _without(flat, keep)
        narrow = torch.mm(seen, a_low.t())  # (tokens, rank)
        whole = torch.mm(seen, weight.t()).addmm_(narrow, b_low.t())  # (tokens, out): x (W + s B A)ᵀ
        told: Tensor | None  # what the backward pass has `whole` from
        if keep is not None:  # it is made again: kept, it would be as large as the output and of use to nobody else
            y = functional.linear(flat, weight, base.bias)
            y, told = y.addmm_(narrow, b_low.t(), alpha=kept).addcmul_(whole, more * kept), None
        elif base.bias is None:  # the output tells it, and what follows often saves that anyway
            y = told = whole.addcmul_(whole, more)
        else:
            y, told = torch.addcmul(whole, whole, more).add_(base.bias), whole
        ctx.save_for_backward(flat, a_low, b_low, narrow, keep, norms, more, told)
        ctx.base, ctx.scale, ctx.kept, ctx.shape = base, scale, kept, x.shape
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        flat, a_low, b_low, narrow, keep, norms, more, told = ctx.saved_tensors
        g = gradients[0].reshape(-1, b_low.shape[0])  # (tokens, out)
        seen = _without(flat, keep)
        weight = dense(ctx.base) if ctx.needs_input_grad[0] or keep is not None else None
        inner = torch.addcmul(g, g, more)  # g ∘ gain: what reaches B A x
        if keep is not None:
            inner *= ctx.kept
            assert weight is not None, "with a mask the product is made again"
            told = torch.mm(seen, weight.t()).addmm_(narrow, b_low.t())
        d_narrow = torch.mm(inner, b_low)  # (tokens, rank)
        d_b = torch.mm(inner.t(), narrow).float().mul_(ctx.scale)
        d_a = torch.mm(d_narrow.t(), seen).float()
        d_gain = (g * told).sum(0, dtype=torch.float32).mul_(ctx.kept)
        if keep is None and ctx.base.bias is None:
            gain = more.float().add_(1)
            d_gain = torch.where(gain == 0, 0, d_gain / gain)
        d_x = None
        if ctx.needs_input_grad[0]:
            assert weight is not None, "made above"
            if keep is None:
                d_x = torch.mm(inner, weight).addmm_(d_narrow, a_low)
            else:
                reached = inner.sub_(g, alpha=ctx.kept)  # what reaches W behind the mask
                d_x = _clear(torch.mm(reached, weight).addmm_(d_narrow, a_low), keep).addmm_(g, weight)
            d_x = d_x.view(ctx.shape)
        return d_x, None, d_a, d_b, d_gain / norms, None, None, None, None


def _without(flat: Tensor, keep: Tensor | None) -> Tensor:
    """Zero where it is not kept. On bits: on a CPU ten times as fast as products or fills by a mask."""
    if keep is None:
        return flat
    bits = _BITS[flat.itemsize]
    return (flat.view(bits) & keep.to(bits)).view(flat.dtype)


def _clear(flat: Tensor, keep: Tensor) -> Tensor:
    """:func:`_without` in place."""
    bits = _BITS[flat.itemsize]
    flat.view(bits).bitwise_and_(keep.to(bits))
    return flat
