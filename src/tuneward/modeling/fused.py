"""Fewer passes over memory for the parts between the matrix products.

Place on the road: put into a frozen model before training. A module is replaced only where it is recognised by its
shape *and* has been seen to give the same numbers on random input; everything else stays as transformers wrote it.
Replaced is the instance's forward method: no class and no library is changed. Knows no adapter and no loss.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tuneward.modeling.gated_mlp import activation_of, gated_mlp
from tuneward.modeling.kernels.loading import fits
from tuneward.modeling.kernels.pointwise import norm_backward, norm_forward
from tuneward.modeling.low_rank import Frozen, dense
from tuneward.modeling.rotary import fuse_rotary

#: Largest difference, against the result's spread, at which a fused part counts as equal: a rounding more or less.
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}


def fuse(model: nn.Module) -> dict[str, int]:
    """Replace what can be replaced, in place; before an adapter is put in.

    Returns:
        Kind of part → how many were replaced.
    """
    counts = {"rms_norm": 0, "gated_mlp": 0, "rotary": 0}
    for module in model.modules():
        counts["rms_norm"] += _fuse_norm(module)
        counts["gated_mlp"] += _fuse_mlp(module)
        counts["rotary"] += fuse_rotary(module)
    return counts


def _fuse_norm(module: nn.Module) -> bool:
    weight, eps = getattr(module, "weight", None), _epsilon(module)
    if not isinstance(weight, Tensor) or weight.ndim != 1 or eps is None or list(module.children()):
        return False
    exact = weight.new_empty(0, dtype=torch.float32)  # a norm takes fp32 whatever its weight's type
    forwards = (_norm_forward(weight, eps=eps, offset=offset) for offset in (False, True))
    return any(_replaced(module, forward, width=weight.shape[0], like=exact) for forward in forwards)


def _fuse_mlp(module: nn.Module) -> bool:
    parts = dict(module.named_children())
    function = parts.pop("act_fn", None)
    if set(parts) != {"gate_proj", "up_proj", "down_proj"} or function is None:
        return False
    name = activation_of(function)
    if name is None:
        return False

    def forward(x: Tensor) -> Tensor:
        # looked up at each call: an adapter may have taken a layer's place
        gate, up, down = (getattr(module, part) for part in ("gate_proj", "up_proj", "down_proj"))
        return gated_mlp(x, gate, up, down, name)

    weight = dense(cast(Frozen, parts["down_proj"]))
    return _replaced(module, forward, width=weight.shape[0], like=weight)


def _epsilon(module: nn.Module) -> float | None:
    found = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    return found if isinstance(found, float) else None


def _norm_forward(weight: Tensor, *, eps: float, offset: bool) -> Callable[[Tensor], Tensor]:
    # with an offset (Gemma) the factor is 1 + weight in fp32 and is applied before rounding, else weight, after it
    factor = 1.0 + weight.detach().float() if offset else weight.detach()

    def forward(hidden_states: Tensor) -> Tensor:
        return rms_norm(hidden_states, factor, eps)

    return forward


@torch.no_grad()
def _replaced(module: nn.Module, forward: Callable[[Tensor], Tensor], *, width: int, like: Tensor) -> bool:
    """Give ``module`` this forward method if it computes the same on random input; says whether it does."""
    if like.is_meta:  # of a model on paper there are sizes only, and nothing to compare
        cast(Any, module).forward = forward
        return True
    generator = torch.Generator().manual_seed(0)
    probe = (3 * torch.randn(4, width, generator=generator)).to(like)
    try:
        theirs, ours = module(probe), forward(probe)
    except (RuntimeError, TypeError, ValueError):
        return False
    if not isinstance(theirs, Tensor) or theirs.shape != ours.shape:
        return False
    if (theirs - ours).abs().max() > TOLERANCES[like.dtype] * theirs.abs().max():
        return False
    cast(Any, module).forward = forward
    return True


def rms_norm(x: Tensor, factor: Tensor, eps: float) -> Tensor:
    """``x / sqrt(mean(x²) + eps) * factor`` over the last dimension (arXiv 1910.07467), for a frozen factor.

    Saved for the backward pass are x and one number per row, where the plain form saves three tensors of x's size in
    fp32. With n = x / rms and g the incoming gradient times the factor: dx = (g - n * mean(g * n)) / rms.

    Args:
        x: (..., width).
        factor: (width,); in x's type it is applied after rounding to it, in fp32 before.
        eps: addend under the root.

    Returns:
        (..., width) in the type of x.
    """
    return cast(Tensor, _RmsNorm.apply(x, factor, eps))


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor, eps: float) -> Tensor:
        ctx.compiled = fits(x) and x.is_contiguous()
        if ctx.compiled:
            y, inverse = norm_forward(x, factor, eps)
            ctx.save_for_backward(x, factor, inverse)
            return y
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        inverse = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()  # (..., 1)
        normal = x * inverse
        ctx.save_for_backward(x, factor, inverse)
        if factor.dtype == x.dtype:
            return normal.to(x.dtype).mul_(factor)
        return normal.mul_(factor).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        x, factor, inverse = ctx.saved_tensors
        if ctx.compiled:
            return norm_backward(gradients[0].contiguous(), x, factor, inverse), None, None
        g = gradients[0] * factor
        normal = x * inverse
        mean = (g * normal).mean(-1, keepdim=True)
        return normal.mul_(mean.neg_()).add_(g).mul_(inverse).to(x.dtype), None, None
