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
BLOCK_ROWS = 256

#: Arguments with which some architectures change the attention's numbers in ways that no layout of ours computes.
FOREIGN = ("s_aux", "sinks", "position_bias", "head_mask", "indices_for_attention")


class Layout(Protocol):
    """Which token sees which, and the computation of attention under that rule."""

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scaling: float,
        window: int | None,
        softcap: float | None,
    ) -> Tensor:
        """Attention of one layer over the tokens of one call.

        Args:
            layer: the layer's number, 0-based.
            query: (1, heads, tokens, head_dim), rotated.
            key: (1, kv_heads, tokens, head_dim), rotated; ``heads`` is a multiple of ``kv_heads``.
            value: (1, kv_heads, tokens, head_dim).
            scaling: factor of the scores.
            window: a token sees itself and the ``window - 1`` tokens before it; None for all before it.
            softcap: scores become ``softcap * tanh(score / softcap)``; None for none.

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
    result = layout.attend(
        int(cast(Any, module).layer_idx),
        query,
        key,
        value,
        scaling=query.shape[-1] ** -0.5 if scaling is None else scaling,
        window=sliding_window,
        softcap=softcap,
    )
    return result, None


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

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scaling: float,
        window: int | None,
        softcap: float | None,
    ) -> Tensor:
        """See :class:`Layout`."""
        assert query.shape[0::2] == (1, sum(self.lengths)), "one packed sequence per call"
        rule = _Rule(self.lengths, scaling, window, softcap)
        return cast(Tensor, _CausalAttention.apply(query[0], key[0], value[0], rule)).unsqueeze(0)


@dataclass(frozen=True)
class _Rule:
    lengths: Sequence[int]
    scaling: float
    window: int | None
    softcap: float | None

    def blocks(self) -> Iterator[tuple[int, int, int]]:
        """(first row, end row, first column) of each block of scores; a block's columns end where its rows end."""
        start = 0
        for length in self.lengths:
            for first in range(start, start + length, BLOCK_ROWS):
                end = min(first + BLOCK_ROWS, start + length)
                seen_from = start if self.window is None else max(start, first - self.window + 1)
                yield first, end, seen_from
            start += length


class _CausalAttention(torch.autograd.Function):
    """Softmax attention block by block; the backward pass computes each block's probabilities again.

    So that memory grows with the tokens and not with their square. Query heads that share a key head are stacked along
    the rows (grouped-query attention without copies of keys): scores of a block are (kv_heads, group * rows, columns).
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, rule: _Rule) -> Tensor:
        result = torch.empty(query.shape[1], query.shape[0], value.shape[-1], dtype=query.dtype, device=query.device)
        for first, end, column in rule.blocks():
            weights, _ = _weights(query, key, rule, first, end, column)
            out = torch.bmm(weights, value[:, column:end])
            result[first:end] = out.view(query.shape[0], end - first, -1).transpose(0, 1)
        ctx.save_for_backward(query, key, value)
        ctx.rule = rule
        return result  # (tokens, heads, head_dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (gradient,) = gradients
        query, key, value = ctx.saved_tensors
        rule: _Rule = ctx.rule
        d_query = torch.empty_like(query)
        d_key, d_value = torch.zeros_like(key), torch.zeros_like(value)
        kv_heads = key.shape[0]
        for first, end, column in rule.blocks():
            weights, slope = _weights(query, key, rule, first, end, column)
            rows = _stack(gradient[first:end].transpose(0, 1), kv_heads)  # (kv_heads, group * rows, head_dim)
            d_value[:, column:end] += torch.bmm(weights.transpose(1, 2), rows)
            d_weights = torch.bmm(rows, value[:, column:end].transpose(1, 2))
            d_scores = torch._softmax_backward_data(d_weights.float(), weights.float(), -1, torch.float32)
            if slope is not None:
                d_scores = d_scores * slope
            d_scores = d_scores.mul_(rule.scaling).to(query.dtype)
            d_query[:, first:end] = torch.bmm(d_scores, key[:, column:end]).view(query.shape[0], end - first, -1)
            d_key[:, column:end] += torch.bmm(d_scores.transpose(1, 2), _stack(query[:, first:end], kv_heads))
        return d_query, d_key, d_value, None


def _stack(rows: Tensor, kv_heads: int) -> Tensor:
    """(heads, rows, head_dim) → (kv_heads, group * rows, head_dim)."""
    return rows.reshape(kv_heads, -1, rows.shape[-1])


def _weights(
    query: Tensor, key: Tensor, rule: _Rule, first: int, end: int, column: int
) -> tuple[Tensor, Tensor | None]:
    """A block's probabilities (kv_heads, group * rows, columns) in the query's dtype, and the softcap's slope."""
    rows, columns = end - first, end - column
    scores = torch.bmm(_stack(query[:, first:end], key.shape[0]), key[:, column:end].transpose(1, 2)).float()
    scores *= rule.scaling
    slope = None
    if rule.softcap is not None:
        scores = torch.tanh(scores / rule.softcap)
        slope = 1 - scores * scores
        scores = scores * rule.softcap
    hidden = _hidden(rows, columns, rule.window, scores.device)
    scores.view(key.shape[0], -1, rows, columns).masked_fill_(hidden, float("-inf"))
    return torch.softmax(scores, dim=-1).to(query.dtype), slope


def _hidden(rows: int, columns: int, window: int | None, device: torch.device) -> Tensor:
    """True where a block's row must not look: later tokens, and those before the window. (rows, columns)."""
    distance = torch.arange(columns - rows, columns, device=device)[:, None] - torch.arange(columns, device=device)
    hidden = distance < 0
    return hidden if window is None else hidden | (distance >= window)
