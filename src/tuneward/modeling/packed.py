"""Packed documents: many conversations in one sequence, no padding, and none sees another.

Place on the road: the attention layout of training. A sequence is made of *segments*; a segment may *continue* an
earlier one, so that the two answers of a preference pair share one pass over their prompt (arXiv 2410.20305). On a CPU
scores are computed block by block with plain matrix products, on CUDA by PyTorch's fused kernels document by document.
Knows no model, no labels and no loss.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right

from tuneward.modeling.attention import Scoring

#: Rows of queries per block of scores: a block stays small, and most of the hidden half of the square is never made.
BLOCK_ROWS = 128

#: Columns of a block are rounded up to a multiple of this.
ROUND = 32

#: Documents up to this length keep their attention weights for the backward pass.
KEPT_TOKENS = 384

Span = tuple[int, int]


@dataclass(frozen=True)
class PackedDocuments:
    """Whole documents one after another in one sequence; each token sees the tokens before it in its own document.

    Attributes:
        lengths: tokens of each segment; their sum is the sequence's length.
        after: for each segment the index of the earlier segment that it continues, or None where it begins a document;
            empty when all do. Two segments may continue the same one and do not see each other.
    """

    lengths: tuple[int, ...]
    after: tuple[int | None, ...] = ()

    def __post_init__(self) -> None:
        assert len(self.after) in (0, len(self.lengths)), "one entry per segment, or none"
        assert all(at is None or 0 <= at < i for i, at in enumerate(self.after)), "a segment continues an earlier one"

    def position_ids(self, device: torch.device | str = "cpu") -> Tensor:
        """Positions that restart at 0 with each document and go on in what continues it: (1, tokens)."""
        parts = [
            torch.arange(first, first + length, device=device)
            for first, length in zip(self._before, self.lengths, strict=True)
        ]
        return torch.cat(parts).unsqueeze(0)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """See :class:`tuneward.modeling.attention.Layout`."""
        assert query.shape[0::2] == (1, sum(self.lengths)), "one packed sequence per call"
        if query.is_cuda and scoring.softcap is None and scoring.window is None:
            return self.attend_fused(query, key, value, scoring)
        rule = _Rule(self, scoring)
        return cast(Tensor, _CausalAttention.apply(query[0], key[0], value[0], rule)).unsqueeze(0)

    def attend_fused(self, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """The same with ``scaled_dot_product_attention``, segment by segment; no sliding window, no softcap.

        Shapes as in :meth:`tuneward.modeling.attention.Layout.attend`.
        """
        results = []
        for context, (first, end) in zip(self.contexts, self.spans, strict=True):
            seen = [key[:, :, a:b] for a, b in context], [value[:, :, a:b] for a, b in context]
            keys, values = (parts[0] if len(parts) == 1 else torch.cat(parts, dim=2) for parts in seen)
            rows, columns = end - first, keys.shape[2]
            results.append(
                torch.nn.functional.scaled_dot_product_attention(
                    query[:, :, first:end],
                    keys,
                    values,
                    attn_mask=None if rows == columns else causal_lower_right(rows, columns),
                    is_causal=rows == columns,
                    scale=scoring.scaling,
                    enable_gqa=query.shape[1] != key.shape[1],
                )
            )
        return torch.cat(results, dim=2).transpose(1, 2)

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """First token and one past the last of each segment."""
        spans, start = [], 0
        for length in self.lengths:
            spans.append((start, start + length))
            start += length
        return tuple(spans)

    @cached_property
    def contexts(self) -> tuple[tuple[Span, ...], ...]:
        """What each segment's last token sees: spans in the order of their positions, neighbours joined."""
        contexts: list[tuple[Span, ...]] = []
        for number, own in enumerate(self.spans):
            before = self.after[number] if self.after else None
            seen = () if before is None else contexts[before]
            if seen and seen[-1][1] == own[0]:
                contexts.append((*seen[:-1], (seen[-1][0], own[1])))
            else:
                contexts.append((*seen, own))
        return tuple(contexts)

    @cached_property
    def _before(self) -> tuple[int, ...]:
        """Tokens that each segment's first token sees before itself."""
        sizes = (sum(end - first for first, end in context) for context in self.contexts)
        return tuple(size - length for size, length in zip(sizes, self.lengths, strict=True))


@dataclass(frozen=True)
class _Block:
    """A piece of one segment's scores: rows ``first:end`` against the columns of ``spans``, one after another.

    Columns run past the last that may be seen to a round number, into tokens that no row of the block may see: the
    products are faster on round shapes, and what is hidden has weight zero.

    Attributes:
        first: first row (token of the sequence).
        end: one past the last row.
        spans: the columns.
        diagonal: column that stands for the token of row ``first``.
        kept: whether the weights are saved for the backward pass.
    """

    first: int
    end: int
    spans: tuple[Span, ...]
    diagonal: int
    kept: bool

    def columns(self, states: Tensor) -> Tensor:
        """(heads, tokens, head_dim) → (heads, columns, head_dim)."""
        if len(self.spans) == 1:
            first, end = self.spans[0]
            return states[:, first:end]
        return torch.cat([states[:, first:end] for first, end in self.spans], dim=1)

    def add(self, total: Tensor, part: Tensor) -> None:
        """Add (heads, columns, head_dim) to the columns' places in (heads, tokens, head_dim)."""
        at = 0
        for first, end in self.spans:
            total[:, first:end] += part[:, at : at + end - first]
            at += end - first


@dataclass(frozen=True)
class _Rule:
    layout: PackedDocuments
    scoring: Scoring

    def blocks(self) -> Iterator[_Block]:
        """Every block of every segment."""
        layout, window = self.layout, self.scoring.window
        tokens = sum(layout.lengths)
        for context, before, (start, stop) in zip(layout.contexts, layout._before, layout.spans, strict=True):
            kept = before + stop - start <= KEPT_TOKENS and self.scoring.softcap is None
            for first in range(start, stop, BLOCK_ROWS):
                end = min(first + BLOCK_ROWS, stop)
                hidden = 0 if window is None else max(0, before + first - start - window + 1)
                spans = _without(context, hidden, stop - end)
                count = sum(b - a for a, b in spans)
                wide = min(tokens - end, -count % ROUND)
                spans = (*spans[:-1], (spans[-1][0], spans[-1][1] + wide))
                yield _Block(first, end, spans, count - (end - first), kept)


def _without(spans: Sequence[Span], front: int, back: int) -> tuple[Span, ...]:
    """``spans`` without their first ``front`` and last ``back`` places."""
    left = []
    for first, end in spans:
        cut = min(front, end - first)
        front -= cut
        if first + cut < end:
            left.append((first + cut, end))
    return (*left[:-1], (left[-1][0], left[-1][1] - back))


class _CausalAttention(torch.autograd.Function):
    """Softmax attention block by block.

    The weights of short documents are kept for the backward pass; those of long ones are computed again, so that memory
    grows with the tokens and not with their square. Query heads that share a key head are stacked along the rows
    (grouped-query attention without copies of keys): scores of a block are (kv_heads, group * rows, columns).
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, rule: _Rule) -> Tensor:
        heads, tokens = query.shape[:2]
        result = torch.empty(tokens, heads, value.shape[-1], dtype=query.dtype, device=query.device)
        hidden = _Hidden(query.device)
        keeps = any(ctx.needs_input_grad)
        kept = []
        for block in rule.blocks():
            rows = _stack(query[:, block.first : block.end], key.shape[0])
            weights, _ = _weights(rows, block.columns(key), rule, block, hidden)
            out = torch.bmm(weights, block.columns(value))
            result[block.first : block.end] = out.view(heads, block.end - block.first, -1).transpose(0, 1)
            if block.kept and keeps:
                kept.append(weights)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.rule = rule
        return result  # (tokens, heads, head_dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (gradient,) = gradients
        query, key, value, *kept = ctx.saved_tensors
        rule: _Rule = ctx.rule
        # in the order (tokens, heads, head_dim) that the projections' backward pass wants
        d_query = torch.empty_like(query.transpose(0, 1)).transpose(0, 1)
        # many blocks add to the same key, each with a rounding, so the sum of a long or a shared one is kept in fp32
        exact = max(rule.layout.lengths) > KEPT_TOKENS or any(at is not None for at in rule.layout.after)
        kind = torch.float32 if exact else key.dtype
        d_key, d_value = (torch.zeros_like(t.transpose(0, 1), dtype=kind).transpose(0, 1) for t in (key, value))
        hidden, saved = _Hidden(query.device), iter(kept)
        kv_heads = key.shape[0]
        for block in rule.blocks():
            at, keys = slice(block.first, block.end), block.columns(key)
            rows = _stack(query[:, at], kv_heads)
            slope = None
            if block.kept:
                weights = next(saved)
            else:
                weights, slope = _weights(rows, keys, rule, block, hidden)
            out = _stack(gradient[at].transpose(0, 1), kv_heads)  # (kv_heads, group * rows, head_dim)
            block.add(d_value, torch.bmm(weights.transpose(1, 2), out))
            d_weights = torch.bmm(out, block.columns(value).transpose(1, 2))
            d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
            if slope is not None:
                d_scores = d_scores * slope.to(d_scores.dtype)
            d_rows = _scaled_product(d_scores, keys, rule.scoring.scaling)
            d_query[:, at] = d_rows.view(query.shape[0], block.end - block.first, -1)
            block.add(d_key, _scaled_product(d_scores.transpose(1, 2), rows, rule.scoring.scaling))
        return d_query, d_key.to(key.dtype), d_value.to(value.dtype), None


def _stack(rows: Tensor, kv_heads: int) -> Tensor:
    """(heads, rows, head_dim) → (kv_heads, group * rows, head_dim)."""
    return rows.reshape(kv_heads, -1, rows.shape[-1])


def _scaled_product(left: Tensor, right: Tensor, scaling: float) -> Tensor:
    """``scaling * left @ right``, scaled before the result is rounded."""
    unused = left.new_empty(1, 1, 1)
    return torch.baddbmm(unused, left, right, beta=0, alpha=scaling)


def _weights(rows: Tensor, keys: Tensor, rule: _Rule, block: _Block, hidden: "_Hidden") -> tuple[Tensor, Tensor | None]:
    """A block's probabilities (kv_heads, group * rows, columns) in the query's dtype, and the softcap's slope."""
    scores = _scaled_product(rows, keys.transpose(1, 2), rule.scoring.scaling)
    slope = None
    if rule.scoring.softcap is not None:
        bent = torch.tanh(scores.float() / rule.scoring.softcap)
        slope = 1 - bent * bent
        scores = (bent * rule.scoring.softcap).to(scores.dtype)
    count = block.end - block.first
    by_head = scores.view(keys.shape[0], -1, count, scores.shape[-1])
    if rule.scoring.window is None:  # only the square at the end holds tokens that a row must not see
        diagonal = by_head[..., block.diagonal :]
        diagonal += hidden.after(count, diagonal.shape[-1], scores.dtype)
    else:
        by_head += hidden.outside(count, scores.shape[-1], block.diagonal, rule.scoring.window, scores.dtype)
    return torch.softmax(scores, dim=-1), slope


class _Hidden:
    """Addends that hide tokens: 0 where a row may look, minus infinity where not. Made once per shape and call."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.known: dict[tuple[int, ...], Tensor] = {}

    def after(self, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """Row r sees columns 0 … r: (rows, columns)."""
        shape = (rows, columns)
        if shape not in self.known:
            full = torch.full(shape, float("-inf"), dtype=dtype, device=self.device)
            self.known[shape] = full.triu_(1)
        return self.known[shape]

    def outside(self, rows: int, columns: int, diagonal: int, window: int, dtype: torch.dtype) -> Tensor:
        """Row r stands at column ``diagonal + r`` and sees itself and ``window - 1`` before it."""
        shape = (rows, columns, diagonal)
        if shape not in self.known:
            place = torch.arange(rows, device=self.device)[:, None] + diagonal
            distance = place - torch.arange(columns, device=self.device)
            addend = torch.zeros((rows, columns), dtype=dtype, device=self.device)
            self.known[shape] = addend.masked_fill_((distance < 0) | (distance >= window), float("-inf"))
        return self.known[shape]
