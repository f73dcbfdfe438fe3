"""Norms, gated units, rotary positions and the loss head's softmax by the compiled kernels.

Place on the road: called by ``fused``, ``gated_mlp``, ``rotary`` and ``training.losses.head`` from within their
autograd functions, where :func:`tuneward.modeling.kernels.loading.fits` says yes. All take dense bf16 tensors.
"""

from ctypes import c_float, c_int32, c_int64, c_void_p

import torch
from torch import Tensor

from tuneward.modeling.kernels.loading import address, compiled

#: Activation → its number in pointwise.c.
_KINDS = {"silu": 0, "gelu": 1}


def gated_forward(gate: Tensor, up: Tensor, activation: str) -> Tensor:
    """``act(gate) ∘ up``, rounded once; ``activation`` is ``silu`` or ``gelu`` (its tanh form)."""
    _require(up.shape == gate.shape, "gate and up of one shape")
    out = torch.empty_like(gate)
    _call("gated_forward", c_int64(gate.numel()), c_int32(_KINDS[activation]), _threads(), gate, up, out)
    return out


def gated_backward(
    gradient: Tensor, gate: Tensor, up: Tensor, activation: str, *, product: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Gradients of gate and up; ``product``, which may be ``gradient``, takes ``act(gate) ∘ up``."""
    _require(gradient.shape == up.shape == gate.shape, "gradient, gate and up of one shape")
    d_gate, d_up = torch.empty_like(gate), torch.empty_like(up)
    count = c_int64(gate.numel())
    into = c_void_p() if product is None else product
    kind = c_int32(_KINDS[activation])
    _call("gated_backward", count, kind, _threads(), gradient, gate, up, d_gate, d_up, into)
    return d_gate, d_up


def norm_forward(x: Tensor, factor: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """RMS norm over the last dimension, and (rows,) ``1 / sqrt(mean(x²) + eps)`` in fp32.

    A factor in bf16 is applied after rounding, one in fp32 before.
    """
    width = x.shape[-1]
    _require(factor.shape == (width,) and factor.is_contiguous(), "one factor for each of a row's values")
    y, inverse = torch.empty_like(x), x.new_empty(x.numel() // width, dtype=torch.float32)
    sizes = c_int64(inverse.shape[0]), c_int32(width), c_float(eps), _exact(factor)
    _call("norm_forward", *sizes, _threads(), x, factor, y, inverse)
    return y, inverse


def norm_backward(gradient: Tensor, x: Tensor, factor: Tensor, inverse: Tensor) -> Tensor:
    """The gradient of x; ``inverse`` as :func:`norm_forward` gave it."""
    d_x = torch.empty_like(x)
    sizes = c_int64(inverse.shape[0]), c_int32(x.shape[-1]), _exact(factor)
    _call("norm_backward", *sizes, _threads(), gradient, x, factor, inverse, d_x)
    return d_x


def rotate(x: Tensor, cos: Tensor, sin: Tensor, *, back: bool) -> Tensor:
    """Each head turned by its token's angles; with ``back`` the transpose of that, for gradients.

    Args:
        x: (heads, tokens, width).
        cos: (tokens, width).
        sin: (tokens, width).
        back: as said.

    Returns:
        (heads, tokens, width), a view of (tokens, heads, width).
    """
    heads, tokens, width = x.shape
    _require(cos.shape == sin.shape == (tokens, width) and width % 2 == 0, "two halves, and an angle for each value")
    y = x.new_empty(tokens, heads, width)
    sizes = c_int64(tokens), c_int32(heads), c_int32(width), c_int32(back), _threads()
    strides = (c_int64(step) for step in (x.stride(1), x.stride(0), cos.stride(0), sin.stride(0)))
    _call("rotate", *sizes, *strides, x, cos, sin, y)
    return y.transpose(0, 1)


def head_scores(logits: Tensor, goal: Tensor, *, turn: bool) -> Tensor:
    """(rows,) fp32: ``log softmax(logits)[goal]``; with ``turn`` its gradient stands in the logits' place afterwards.

    Args:
        logits: (rows, vocabulary).
        goal: (rows,) int64, each below ``vocabulary``.
        turn: whether the gradient is wanted.

    Raises:
        IndexError: a goal lies outside the vocabulary.
    """
    _require(goal.shape == logits.shape[:1] and goal.dtype is torch.int64, "one goal a row, in int64")
    goal = goal.contiguous()
    found = logits.new_empty(logits.shape[0], dtype=torch.float32)
    rows, vocabulary = map(c_int64, logits.shape)
    outside = _call("head_scores", rows, vocabulary, c_int32(turn), _threads(), logits, goal, found)
    if outside:
        raise IndexError(f"goals outside a vocabulary of {logits.shape[1]}: {outside}")
    return found


def _require(fits: bool, what: str) -> None:
    """The kernels read as much as they are told is there."""
    if not fits:
        raise ValueError(f"the kernel takes {what}")


def _exact(factor: Tensor) -> c_int32:
    return c_int32(factor.dtype is torch.float32)


def _threads() -> c_int32:
    return c_int32(torch.get_num_threads())


def _call(name: str, *arguments: Tensor | c_int32 | c_int64 | c_float | c_void_p) -> int:
    library = compiled()
    assert library is not None, "asked before: fits"
    return int(getattr(library, name)(*(address(a) if isinstance(a, Tensor) else a for a in arguments)))
