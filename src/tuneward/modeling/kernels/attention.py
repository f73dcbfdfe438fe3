"""Attention over packed documents by the compiled kernels.

Place on the road: what ``packed`` calls instead of its own blocks where the kernels fit. Kept for the backward pass are
the result and one number per token and head; scores are made again. Knows no segment rules: contexts come as places.
"""

import ctypes
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tuneward.modeling.kernels.loading import compiled, fits

#: Contexts are filled up to a multiple of this (``PAD`` in attention.c).
PAD = 32

#: What a head's width must be a multiple of, and the largest one (``LANES``, ``WIDEST``).
LANES, WIDEST = 16, 256

Span = tuple[int, int]


class _Layout(ctypes.Structure):
    """``Layout`` of attention.c."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("segments", "heads", "kv_heads", "width", "window", "shared")),
        *((name, ctypes.c_int32) for name in ("tokens", "columns")),
        ("scaling", ctypes.c_float),
        ("threads", ctypes.c_int32),
        *((name, ctypes.c_void_p) for name in ("first", "length", "before", "at", "places")),
        *((f"{name}_{step}", ctypes.c_int64) for name in ("query", "key", "value") for step in ("token", "head")),
    ]


class Places:
    """Where each segment's queries and keys lie, as the kernels read it; one per layout, shared by all layers.

    Args:
        spans: first token and one past the last of each segment.
        contexts: for each segment the spans that its last token sees, in the order of their positions, itself last.
        shared: whether any token stands in two contexts.
    """

    def __init__(self, spans: Sequence[Span], contexts: Sequence[Sequence[Span]], *, shared: bool) -> None:
        self.shared = shared
        self.tokens = sum(end - first for first, end in spans)
        at: list[int] = []
        places: list[int] = []
        before: list[int] = []
        for (first, end), context in zip(spans, contexts, strict=True):
            seen = [token for a, b in context for token in range(a, b)]
            at.append(len(places))
            before.append(len(seen) - (end - first))
            places += seen + [-1] * (-len(seen) % PAD)
        self.columns = len(places)
        # the longest first, so that threads end together
        order = sorted(range(len(spans)), key=lambda i: before[i] + spans[i][1] - spans[i][0], reverse=True)
        numbers = [[spans[i][0], spans[i][1] - spans[i][0], before[i], at[i]] for i in order]
        self._segments = torch.tensor(numbers, dtype=torch.int32).t().contiguous()  # (4, segments)
        self._places = torch.tensor(places, dtype=torch.int32)

    def layout(self, query: Tensor, key: Tensor, value: Tensor, *, scaling: float, window: int | None) -> _Layout:
        """Shapes as in :func:`attend`."""
        first, length, before, at = (row.data_ptr() for row in self._segments)
        strides = [step for t in (query, key, value) for step in (t.stride(1), t.stride(0))]
        sizes = self._segments.shape[1], query.shape[0], key.shape[0], query.shape[2], window or 0, int(self.shared)
        ends = self.tokens, self.columns, scaling, torch.get_num_threads()
        return _Layout(*sizes, *ends, first, length, before, at, self._places.data_ptr(), *strides)


def can_attend(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether :func:`attend` takes these: bf16 on this CPU, all heads of one width that fits the registers."""
    width = query.shape[-1]
    even = all(stride % 2 == 0 for t in (query, key, value) for stride in t.stride()[:2])
    return width == value.shape[-1] and width % LANES == 0 and width <= WIDEST and even and fits(query, key, value)


def attend(query: Tensor, key: Tensor, value: Tensor, places: Places, *, scaling: float, window: int | None) -> Tensor:
    """Causal attention, each segment over its context.

    Args:
        query: (heads, tokens, width) in bf16, rotated.
        key: (kv_heads, tokens, width).
        value: (kv_heads, tokens, width).
        places: of the segments.
        scaling: factor of the scores.
        window: a token sees itself and the ``window - 1`` tokens before it; None for all before it.

    Returns:
        (tokens, heads, width)
    """
    (heads, tokens, width), kv_heads = query.shape, key.shape[0]
    if not key.shape == value.shape == (kv_heads, tokens, width) or tokens != places.tokens or heads % kv_heads:
        raise ValueError(f"{[tuple(t.shape) for t in (query, key, value)]} are not of {places.tokens} tokens")
    return cast(Tensor, _Attention.apply(query, key, value, places, scaling, window))


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, places: Places, scaling: float, window: int | None
    ) -> Tensor:
        (heads, tokens, width), kv_heads = query.shape, key.shape[0]
        result = query.new_empty(tokens, heads, width)
        normaliser = query.new_empty(tokens, heads, dtype=torch.float32)
        packed = torch.empty(kv_heads * places.columns * width, dtype=torch.int32)
        layout = places.layout(query, key, value, scaling=scaling, window=window)
        _call("attention_forward", layout, query, key, value, result, normaliser, packed)
        ctx.save_for_backward(query, key, value, result, normaliser)
        ctx.places, ctx.scaling, ctx.window = places, scaling, window
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, result, normaliser = ctx.saved_tensors
        places: Places = ctx.places
        (heads, tokens, width), kv_heads = query.shape, key.shape[0]
        d_query = torch.empty_like(result)
        d_key, d_value = result.new_empty(2, tokens, kv_heads, width)
        packed = torch.empty(3 * kv_heads * places.columns * width // 2, dtype=torch.int32)
        parts = torch.empty(2 * heads * places.columns * width, dtype=torch.float32)
        total = torch.empty(tokens * kv_heads * width, dtype=torch.float32)
        layout = places.layout(query, key, value, scaling=ctx.scaling, window=ctx.window)
        came = gradients[0].contiguous()
        made = (d_query, d_key, d_value, packed, parts, total)
        _call("attention_backward", layout, query, key, value, result, normaliser, came, *made)
        return d_query.transpose(0, 1), d_key.transpose(0, 1), d_value.transpose(0, 1), None, None, None


def _call(name: str, layout: _Layout, *tensors: Tensor) -> None:
    library = compiled()
    assert library is not None, "asked before: can_attend"
    if getattr(library, name)(ctypes.byref(layout), *(ctypes.c_void_p(t.data_ptr()) for t in tensors)):
        raise MemoryError(f"{name}: no memory for {torch.get_num_threads()} threads")
