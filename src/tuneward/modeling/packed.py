"""Packed documents: many conversations in one sequence, no padding, and none sees another.

Place on the road: the attention layout of training. A sequence is made of *segments*; a segment may *continue* an
earlier one, so that the two answers of a preference pair share one pass over their prompt (arXiv 2410.20305). In bf16
on a CPU that multiplies it the compiled kernels compute it (``kernels.attention``), otherwise scores are made block by
block with plain matrix products; on CUDA PyTorch's fused kernels do it document by document.
Knows no model, no labels and no loss.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right

from tuneward.modeling.attention import Scoring
from tuneward.modeling.hidden import Hidden
from tuneward.modeling.kernels.attention import Places, attend, can_attend

#: Rows of queries per block of scores: a block stays small, and most of the hidden half of the square is never made.
BLOCK_ROWS = 128

#: Rows and columns of blocks are padded to a multiple of this: products are faster on round shapes, and a CPU makes new
#: code for every new one (docs/performance.md, "Shapes").
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
        if self.is_compiled(query, key, value, scoring):
            states, window = (query[0], key[0], value[0]), scoring.window
            return attend(*states, self._places, scaling=scoring.scaling, window=window).unsqueeze(0)
        plan = self._plan(query.shape[1], key.shape[1], scoring.window, query.device)
        return cast(Tensor, _CausalAttention.apply(query[0], key[0], value[0], plan, scoring)).unsqueeze(0)

    @staticmethod
    def is_compiled(query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> bool:
        """Whether :meth:`attend` leaves these to the compiled kernels; it then makes no blocks and keeps no weights."""
        return scoring.softcap is None and can_attend(query[0], key[0], value[0])

    def kept_values(self, heads: int, kv_heads: int, scoring: Scoring) -> int:
        """How many attention weights :meth:`attend` keeps for the backward pass of one layer where it makes blocks."""
        plan = self._plan(heads, kv_heads, scoring.window, torch.device("cpu"))
        kept = [block for blocks in plan.segments for block in blocks if _is_kept(block, scoring)]
        return sum(heads * block.rows * (block.columns[1] - block.columns[0]) for block in kept)

    def block_shapes(self, heads: int, kv_heads: int, scoring: Scoring) -> set[tuple[int, int]]:
        """Rows and columns of the blocks of scores that :meth:`attend` makes where it makes blocks."""
        plan = self._plan(heads, kv_heads, scoring.window, torch.device("cpu"))
        return {(block.rows, block.columns[1] - block.columns[0]) for blocks in plan.segments for block in blocks}

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
    def _places(self) -> Places:
        return Places(self.spans, self.contexts, shared=any(at is not None for at in self.after))

    @cached_property
    def _plans(self) -> dict[tuple[object, ...], "_Plan"]:
        return {}

    def _plan(self, heads: int, kv_heads: int, window: int | None, device: torch.device) -> "_Plan":
        """The layers of a model share one plan, so it is made once per layout."""
        named = (heads, kv_heads, window, device)
        if named not in self._plans:
            self._plans[named] = _Plan(self, heads, kv_heads, window, device)
        return self._plans[named]

    @cached_property
    def _before(self) -> tuple[int, ...]:
        """Tokens that each segment's first token sees before itself."""
        sizes = (sum(end - first for first, end in context) for context in self.contexts)
        return tuple(size - length for size, length in zip(sizes, self.lengths, strict=True))


@dataclass(frozen=True)
class _Block:
    """A piece of one segment's scores: some of its rows against what they see.

    Attributes:
        rows: number of rows, padding included.
        at: place of their queries in the plan's order: rows of head_dim.
        columns: part of the segment's context that any of them sees.
        diagonal: column that stands for the first row's own token.
        kept: whether the weights are saved for the backward pass.
    """

    rows: int
    at: Span
    columns: Span
    diagonal: int
    kept: bool


class _Plan:
    """Where everything of a layout lies in the order that its products want, for one number of heads.

    Queries are ordered (block, kv_head, group, row) and keys and values (segment, kv_head, place): then every block is
    a batch of matrices without gaps, which a CPU multiplies without copying. One gather brings the projections' order
    (token, head) into it, one brings the result back. A segment that continues another has the other's keys once more.
    """

    def __init__(
        self, layout: PackedDocuments, heads: int, kv_heads: int, window: int | None, device: torch.device
    ) -> None:
        self.heads, self.kv_heads = heads, kv_heads
        self.hidden = Hidden(device)
        self.segments: list[list[_Block]] = []
        self.contexts: list[Span] = []  # each segment's keys: rows of head_dim
        self.shared = any(at is not None for at in layout.after)
        order, real, seen, own = [], [], [], []
        asked = keys = 0
        for spans, before, (start, stop) in zip(layout.contexts, layout._before, layout.spans, strict=True):
            places = torch.cat([torch.arange(first, end) for first, end in spans])
            size, pad = places.shape[0], -places.shape[0] % ROUND
            places = torch.cat([places, places.new_full((pad,), start)])  # never seen, so any token will do
            seen.append(_by_head(places, kv_heads))
            own.append(keys + torch.arange(kv_heads)[:, None] * (size + pad) + before + torch.arange(stop - start))
            self.contexts.append((keys, keys + kv_heads * (size + pad)))
            keys += kv_heads * (size + pad)
            blocks = []
            for first in range(start, stop, BLOCK_ROWS):
                end = min(first + BLOCK_ROWS, stop)
                rows = end - first + (first - end) % ROUND
                order.append(_by_head(torch.arange(first, first + rows).clamp_max(end - 1), heads))
                real.append((torch.arange(rows) < end - first).repeat(heads))
                place = before + first - start  # the first row's own, in its context
                left = 0 if window is None else max(0, place - window + 1)
                right = min(size + pad, left + -(-(place + end - first - left) // ROUND) * ROUND)
                blocks.append(
                    _Block(rows, (asked, asked + heads * rows), (left, right), place - left, size <= KEPT_TOKENS)
                )
                asked += heads * rows
            self.segments.append(blocks)
        every, is_real = torch.cat(order), torch.cat(real)
        self.order = every.to(device)  # (heads * rows,): query row → row of (token, head)
        self.padding = (~is_real).nonzero().flatten().to(device)  # query rows that nobody asked for
        self.back = torch.empty(heads * sum(layout.lengths), dtype=torch.int64)
        self.back[every[is_real]] = is_real.nonzero().flatten()
        self.back = self.back.to(device)
        self.seen = torch.cat(seen).to(device)  # (keys,): key row → row of (token, kv_head)
        #: (tokens * kv_heads,): row of (token, kv_head) → the key row of its own segment
        self.own = torch.cat(own, dim=1).t().flatten().to(device)

    def queries(self, states: Tensor) -> Tensor:
        """(heads, tokens, head_dim) → rows in the plan's order; padding repeats a row."""
        return _rows(states).index_select(0, self.order)

    def looked_at(self, states: Tensor) -> Tensor:
        """(kv_heads, tokens, head_dim) → rows in the plan's order."""
        return _rows(states).index_select(0, self.seen)

    def result(self, rows: Tensor) -> Tensor:
        """Rows in the plan's order → (tokens, heads, head_dim)."""
        return rows.index_select(0, self.back).view(-1, self.heads, rows.shape[-1])

    def gathered(self, rows: Tensor) -> Tensor:
        """Gradients of looked-at rows → (tokens, kv_heads, head_dim); a row that several looked at has their sum."""
        if not self.shared:
            return rows.index_select(0, self.own).view(-1, self.kv_heads, rows.shape[-1])
        total = rows.new_zeros(self.own.shape[0], rows.shape[-1], dtype=torch.float32)
        total.index_add_(0, self.seen, rows.float())
        return total.view(-1, self.kv_heads, rows.shape[-1]).to(rows.dtype)

    def of_block(self, rows: Tensor, block: _Block) -> Tensor:
        """A block's queries: (kv_heads, group * rows, head_dim)."""
        return rows[slice(*block.at)].view(self.kv_heads, -1, rows.shape[-1])

    def of_context(self, rows: Tensor, segment: int) -> Tensor:
        """What a segment looks at: (kv_heads, places, head_dim)."""
        return rows[slice(*self.contexts[segment])].view(self.kv_heads, -1, rows.shape[-1])


def _by_head(tokens: Tensor, heads: int) -> Tensor:
    """Rows of (token, head), head by head: (heads * tokens,)."""
    return (tokens * heads + torch.arange(heads)[:, None]).flatten()


def _rows(states: Tensor) -> Tensor:
    """(heads, tokens, head_dim) → (tokens * heads, head_dim); no copy where a projection made it."""
    return states.transpose(0, 1).reshape(-1, states.shape[-1])


class _CausalAttention(torch.autograd.Function):
    """Softmax attention block by block.

    The weights of short documents are kept for the backward pass; those of long ones are computed again, so that memory
    grows with the tokens and not with their square. Query heads that share a key head are stacked along the rows
    (grouped-query attention without copies of keys): scores of a block are (kv_heads, group * rows, columns).
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, plan: _Plan, scoring: Scoring) -> Tensor:
        rows, keys, values = plan.queries(query), plan.looked_at(key), plan.looked_at(value)
        result = rows.new_empty(rows.shape[0], values.shape[-1])
        keeps = any(ctx.needs_input_grad)
        kept = []
        for number, blocks in enumerate(plan.segments):
            mine, theirs = plan.of_context(keys, number), plan.of_context(values, number)
            for block in blocks:
                at = slice(*block.columns)
                weights, _ = _weights(plan, block, plan.of_block(rows, block), mine[:, at], scoring)
                torch.bmm(weights, theirs[:, at], out=plan.of_block(result, block))
                if keeps and _is_kept(block, scoring):
                    kept.append(weights)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.plan, ctx.scoring = plan, scoring
        return plan.result(result)  # (tokens, heads, head_dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        plan, scoring, (query, key, value, *kept) = cast(_Plan, ctx.plan), cast(Scoring, ctx.scoring), ctx.saved_tensors
        rows, keys, values = plan.queries(query), plan.looked_at(key), plan.looked_at(value)
        up = plan.queries(gradients[0].transpose(0, 1)).index_fill_(0, plan.padding, 0)
        d_rows, d_keys, d_values = (torch.empty_like(t) for t in (rows, keys, values))
        saved = iter(kept)
        for number, blocks in enumerate(plan.segments):
            mine, theirs = plan.of_context(keys, number), plan.of_context(values, number)
            # the blocks of a long document add to the same keys, each with a rounding: their sum is kept in fp32
            d_mine, d_theirs = (torch.zeros_like(t, dtype=torch.float32) for t in (mine, theirs))
            for block in blocks:
                asking, out = plan.of_block(rows, block), plan.of_block(up, block)  # (kv_heads, group * rows, head_dim)
                at, slope = slice(*block.columns), None
                if _is_kept(block, scoring):
                    weights = next(saved)
                else:
                    weights, slope = _weights(plan, block, asking, mine[:, at], scoring)
                d_weights = torch.bmm(out, theirs[:, at].transpose(1, 2))
                d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
                if slope is not None:
                    d_scores = d_scores * slope.to(d_scores.dtype)
                _product(d_scores, mine[:, at], scoring.scaling, out=plan.of_block(d_rows, block))
                d_mine[:, at] += _product(d_scores.transpose(1, 2), asking, scoring.scaling)
                d_theirs[:, at] += torch.bmm(weights.transpose(1, 2), out)
            plan.of_context(d_keys, number).copy_(d_mine)
            plan.of_context(d_values, number).copy_(d_theirs)
        d_key, d_value = (plan.gathered(t).transpose(0, 1) for t in (d_keys, d_values))
        return plan.result(d_rows).transpose(0, 1), d_key, d_value, None, None


def _is_kept(block: _Block, scoring: Scoring) -> bool:
    return block.kept and scoring.softcap is None


def _product(left: Tensor, right: Tensor, scaling: float, out: Tensor | None = None) -> Tensor:
    """``scaling * left @ right``, scaled before the result is rounded."""
    return torch.baddbmm(left.new_empty(1, 1, 1), left, right, beta=0, alpha=scaling, out=out)


def _weights(
    plan: _Plan, block: _Block, asking: Tensor, seen: Tensor, scoring: Scoring
) -> tuple[Tensor, Tensor | None]:
    """A block's probabilities (kv_heads, group * rows, columns) in the query's dtype, and the softcap's slope."""
    scores = _product(asking, seen.transpose(1, 2), scoring.scaling)
    slope = None
    if scoring.softcap is not None:
        bent = torch.tanh(scores.float() / scoring.softcap)
        slope = 1 - bent * bent
        scores = (bent * scoring.softcap).to(scores.dtype)
    by_head = scores.view(plan.kv_heads, -1, block.rows, scores.shape[-1])
    if scoring.window is None:  # only the square at the end holds tokens that a row must not see
        diagonal = by_head[..., block.diagonal :]
        diagonal += plan.hidden.after(block.rows, diagonal.shape[-1], scores.dtype)
    else:
        by_head += plan.hidden.outside(block.rows, scores.shape[-1], block.diagonal, scoring.window, scores.dtype)
    return torch.softmax(scores, dim=-1), slope
