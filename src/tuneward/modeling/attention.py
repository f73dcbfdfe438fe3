"""Attention of ours, plugged into every causal model of transformers under the name ``tuneward``.

Place on the road: below the model in training and in the engine. The caller hands a *layout* through
``model(..., layout=layout)``; the layout says which token may see which, and computes. Here lives the layout of
training, :class:`PackedDocuments`; the engine brings its own with a cache. The registered function knows neither.

No mask tensor exists: transformers builds none for an attention that is registered here and not in its mask table.
An architecture that does not pass the layout down, or asks for attention that a layout cannot do, is refused.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tuneward.errors import Fault, ModelError

NAME = "tuneward"

#: Rows of queries per block of scores: a block stays small, and most of the hidden half of the square is never made.
BLOCK_ROWS = 128

#: Columns of a block are rounded up to a multiple of this.
ROUND = 32

#: Documents up to this length keep their attention weights for the backward pass.
KEPT_TOKENS = 384

#: Arguments with which some architectures change the attention's numbers in ways that no layout of ours computes.
FOREIGN = ("s_aux", "sinks", "position_bias", "head_mask", "indices_for_attention")


@dataclass(frozen=True)
class Scoring:
    """What an architecture asks of one layer's scores.

    Attributes:
        scaling: factor of the scores.
        window: a token sees itself and the ``window - 1`` tokens before it; None for all before it.
        softcap: scores become ``softcap * tanh(score / softcap)``; None for none (Gemma 2, arXiv 2408.00118).
    """

    scaling: float
    window: int | None
    softcap: float | None


class Layout(Protocol):
    """Which token sees which, and the computation of attention under that rule."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """Attention of one layer over the tokens of one call.

        Args:
            layer: the layer's number, 0-based.
            query: (1, heads, tokens, head_dim), rotated.
            key: (1, kv_heads, tokens, head_dim), rotated; ``heads`` is a multiple of ``kv_heads``.
            value: (1, kv_heads, tokens, head_dim).
            scoring: scaling, sliding window and softcap.

        Returns:
            (1, tokens, heads, head_dim)
        """
        ...


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    layout: Layout | None = None,
    is_causal: bool | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """The function that transformers calls in each layer: finds the layout and hands over.

    Raises:
        ModelError: the layout never arrived, or the architecture asks for what a layout does not compute.
    """
    name = type(module).__name__
    if layout is None:
        raise ModelError(
            Fault(
                "TW-BASE-031",
                f"{name} was called without a layout, so documents could see one another",
                name,
                "this architecture does not pass model arguments to its attention; choose another base",
            )
        )
    odd = [key for key in FOREIGN if rest.get(key) is not None]
    if attention_mask is not None:
        odd.append("attention_mask")
    if is_causal is False or getattr(module, "is_causal", True) is False:
        odd.append("attention to later tokens")
    if dropout:
        odd.append("attention dropout")
    if odd:
        raise ModelError(
            Fault("TW-BASE-032", f"{name} asks for {', '.join(odd)}", name, "choose a base with plain causal attention")
        )
    scoring = Scoring(query.shape[-1] ** -0.5 if scaling is None else scaling, sliding_window, softcap)
    return layout.attend(int(cast(Any, module).layer_idx), query, key, value, scoring), None


ALL_ATTENTION_FUNCTIONS.register(NAME, attention)


@dataclass(frozen=True)
class PackedDocuments:
    """Whole documents one after another in one sequence; each token sees the tokens before it in its own document.

    Attributes:
        lengths: tokens of each document; their sum is the sequence's length.
    """

    lengths: tuple[int, ...]

    def position_ids(self, device: torch.device | str = "cpu") -> Tensor:
        """Positions that restart at 0 with each document: (1, tokens)."""
        return torch.cat([torch.arange(length, device=device) for length in self.lengths]).unsqueeze(0)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """See :class:`Layout`."""
        assert query.shape[0::2] == (1, sum(self.lengths)), "one packed sequence per call"
        rule = _Rule(self.lengths, scoring)
        return cast(Tensor, _CausalAttention.apply(query[0], key[0], value[0], rule)).unsqueeze(0)


@dataclass(frozen=True)
class _Block:
    """A piece of one document's scores: rows ``first:end`` against columns ``column:stop``.

    Columns run past ``end`` to a round number, into tokens that no row of the block may see: the products are faster on
    round shapes, and what is hidden has weight zero. ``kept`` says whether the weights are saved for the backward pass.
    """

    first: int
    end: int
    column: int
    stop: int
    kept: bool


@dataclass(frozen=True)
class _Rule:
    lengths: Sequence[int]
    scoring: Scoring

    def blocks(self) -> Iterator[_Block]:
        """Every block of every document."""
        start, tokens, window = 0, sum(self.lengths), self.scoring.window
        for length in self.lengths:
            kept = length <= KEPT_TOKENS and self.scoring.softcap is None
            for first in range(start, start + length, BLOCK_ROWS):
                end = min(first + BLOCK_ROWS, start + length)
                column = start if window is None else max(start, first - window + 1)
                stop = min(tokens, column + -(-(end - column) // ROUND) * ROUND)
                yield _Block(first, end, column, stop, kept)
            start += length


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
            weights, _ = _weights(rows, key, rule, block, hidden)
            out = torch.bmm(weights, value[:, block.column : block.stop])
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
        # a long document's blocks add up to many roundings, so their sum is kept in fp32
        kind = torch.float32 if max(rule.lengths) > KEPT_TOKENS else key.dtype
        d_key, d_value = (torch.zeros_like(t.transpose(0, 1), dtype=kind).transpose(0, 1) for t in (key, value))
        hidden, saved = _Hidden(query.device), iter(kept)
        kv_heads = key.shape[0]
        for block in rule.blocks():
            at, seen = slice(block.first, block.end), slice(block.column, block.stop)
            rows = _stack(query[:, at], kv_heads)
            slope = None
            if block.kept:
                weights = next(saved)
            else:
                weights, slope = _weights(rows, key, rule, block, hidden)
            out = _stack(gradient[at].transpose(0, 1), kv_heads)  # (kv_heads, group * rows, head_dim)
            d_value[:, seen] += torch.bmm(weights.transpose(1, 2), out)
            d_weights = torch.bmm(out, value[:, seen].transpose(1, 2))
            d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
            if slope is not None:
                d_scores = d_scores * slope.to(d_scores.dtype)
            d_rows = _scaled_product(d_scores, key[:, seen], rule.scoring.scaling)
            d_query[:, at] = d_rows.view(query.shape[0], block.end - block.first, -1)
            d_key[:, seen] += _scaled_product(d_scores.transpose(1, 2), rows, rule.scoring.scaling)
        return d_query, d_key.to(key.dtype), d_value.to(value.dtype), None


def _stack(rows: Tensor, kv_heads: int) -> Tensor:
    """(heads, rows, head_dim) → (kv_heads, group * rows, head_dim)."""
    return rows.reshape(kv_heads, -1, rows.shape[-1])


def _scaled_product(left: Tensor, right: Tensor, scaling: float) -> Tensor:
    """``scaling * left @ right``, scaled before the result is rounded."""
    unused = left.new_empty(1, 1, 1)
    return torch.baddbmm(unused, left, right, beta=0, alpha=scaling)


def _weights(rows: Tensor, key: Tensor, rule: _Rule, block: _Block, hidden: "_Hidden") -> tuple[Tensor, Tensor | None]:
    """A block's probabilities (kv_heads, group * rows, columns) in the query's dtype, and the softcap's slope."""
    scores = _scaled_product(rows, key[:, block.column : block.stop].transpose(1, 2), rule.scoring.scaling)
    slope = None
    if rule.scoring.softcap is not None:
        bent = torch.tanh(scores.float() / rule.scoring.softcap)
        slope = 1 - bent * bent
        scores = (bent * rule.scoring.softcap).to(scores.dtype)
    count = block.end - block.first
    by_head = scores.view(key.shape[0], -1, count, scores.shape[-1])
    if rule.scoring.window is None:  # only the square at the end holds tokens that a row must not see
        diagonal = by_head[..., block.first - block.column :]
        diagonal += hidden.after(count, diagonal.shape[-1], scores.dtype)
    else:
        by_head += hidden.outside(count, block, rule.scoring.window, scores.dtype)
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

    def outside(self, rows: int, block: _Block, window: int, dtype: torch.dtype) -> Tensor:
        """Row r stands at column ``first - column + r`` and sees itself and ``window - 1`` before it."""
        shape = (rows, block.stop - block.column, block.first - block.column)
        if shape not in self.known:
            place = torch.arange(rows, device=self.device)[:, None] + (block.first - block.column)
            distance = place - torch.arange(shape[1], device=self.device)
            addend = torch.zeros(shape[:2], dtype=dtype, device=self.device)
            self.known[shape] = addend.masked_fill_((distance < 0) | (distance >= window), float("-inf"))
        return self.known[shape]
