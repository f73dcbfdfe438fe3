"""Rotary positions (arXiv 2104.09864) in one pass, where transformers takes ten.

Place on the road: put into attention modules by ``fused``, where the kernels are. transformers' attention calls the
function ``apply_rotary_pos_emb`` of its own file; an instance whose function rotates halves, as has been seen on random
input, gets its forward method once more with ours under that name. No class and no library is changed.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tuneward.modeling.kernels.loading import fits
from tuneward.modeling.kernels.pointwise import rotate

NAME = "apply_rotary_pos_emb"

#: Largest difference to transformers' own, whose sum of two rounded products is rounded again.
TOLERANCE = 2e-2

Rotation = Callable[..., tuple[Tensor, Tensor]]


def fuse_rotary(module: nn.Module) -> bool:
    """Let ``module`` rotate in one pass, if it is attention that rotates halves; says whether."""
    forward = type(module).forward
    if not isinstance(forward, FunctionType) or NAME not in forward.__code__.co_names:
        return False
    theirs = forward.__globals__.get(NAME)  # what it calls, in whatever file its class may stand
    if theirs is None:
        return False
    if not _turns_halves(theirs):
        return False
    known = {**forward.__globals__, NAME: _ours(theirs)}
    again = FunctionType(forward.__code__, known, forward.__name__, forward.__defaults__, forward.__closure__)
    again.__kwdefaults__ = forward.__kwdefaults__
    cast(Any, module).forward = again.__get__(module)
    return True


def _turns_halves(theirs: Rotation) -> bool:
    """Whether a function of transformers computes what :func:`rotate` does, and the kernels are there."""
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, heads, 3, 32, generator=generator).bfloat16() for heads in (4, 2))
    cos, sin = torch.randn(2, 1, 3, 32, generator=generator).bfloat16()
    if not fits(q, k, cos, sin):
        return False
    try:
        wanted = theirs(q, k, cos, sin)
    except (RuntimeError, TypeError, ValueError):
        return False
    got = (_turned(x, cos, sin) for x in (q, k))
    return all((a - b).abs().max() <= TOLERANCE * a.abs().max() for a, b in zip(wanted, got, strict=True))


def _ours(theirs: Rotation) -> Rotation:
    def apply(*given: Any, **named: Any) -> tuple[Tensor, Tensor]:
        # some functions take queries alone, or positions too: what is not the plain call is theirs as it came
        if not _is_plain(*given, **named):
            return theirs(*given, **named)
        q, k, cos, sin = given
        return _turned(q, cos, sin), _turned(k, cos, sin)

    return apply


def _is_plain(*given: Any, **named: Any) -> bool:
    if named not in ({}, {"unsqueeze_dim": 1}) or len(given) != 4 or not all(isinstance(t, Tensor) for t in given):
        return False
    q, k, cos, sin = given
    if q.ndim != 4 or k.ndim != 4 or not q.shape[0] == k.shape[0] == 1 or q.shape[-1] % 2:
        return False
    return bool(cos.shape == sin.shape == (1, *q.shape[2:]) == (1, *k.shape[2:])) and fits(q, k, cos, sin)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return cast(Tensor, _Rotation.apply(x, cos, sin))


class _Rotation(torch.autograd.Function):
    """(1, heads, tokens, width) → the same, each head turned by its token's angles."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return rotate(x[0], cos[0], sin[0], back=False).unsqueeze(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        g = gradients[0][0]
        g = g if g.stride(-1) == 1 else g.contiguous()
        return rotate(g, cos[0], sin[0], back=True).unsqueeze(0), None, None
