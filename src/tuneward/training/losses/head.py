"""The loss head: log-probabilities of learned tokens, chunk by chunk, so that logits never exist whole.

Place on the road: between the model's hidden states and every loss. The head runs only where a token is learned.
Gradients with respect to the hidden states are made in the forward pass, while a chunk's logits are at hand; the
backward pass only scales each row, which is why one function serves every loss. Knows neither batches nor model.
"""

from typing import Any, cast

import torch
from torch import Tensor

from tuneward.modeling.base_model import OutputHead
from tuneward.modeling.kernels.library import fits
from tuneward.modeling.kernels.pointwise import head_scores


def token_log_probs(hidden: Tensor, targets: Tensor, head: OutputHead, *, chunk_bytes: int) -> Tensor:
    """``log softmax(head(hidden))[target]`` of each row.

    Where the head itself is trained, its chunks are computed again in the backward pass, which alone knows how much
    each row counts.

    Args:
        hidden: (rows, hidden).
        targets: (rows,) int64.
        head: the output head.
        chunk_bytes: memory that a chunk of logits may take, in bytes.

    Returns:
        (rows,) in fp32, in nats.
    """
    rows = chunk_rows(head, hidden.dtype, chunk_bytes)
    trained = head.weight.requires_grad or (head.bias is not None and head.bias.requires_grad)
    if trained and torch.is_grad_enabled():
        return cast(Tensor, _TrainedHead.apply(hidden, head.weight, head.bias, targets, head, rows))
    return cast(Tensor, _FrozenHead.apply(hidden, targets, head, rows))


def chunk_rows(head: OutputHead, dtype: torch.dtype, chunk_bytes: int) -> int:
    """Rows whose logits fit into ``chunk_bytes``; at least one."""
    return max(1, chunk_bytes // (head.weight.shape[0] * logit_bytes(head, dtype)))


def logit_bytes(head: OutputHead, dtype: torch.dtype) -> int:
    """What one logit takes: kernels work in its place; without them it stands there twice in fp32 as well."""
    return dtype.itemsize if _is_compiled(head, dtype) else dtype.itemsize + 8


def _is_compiled(head: OutputHead, dtype: torch.dtype) -> bool:
    plain = head.softcap is None and head.multiplier == 1.0
    return plain and dtype is head.weight.dtype and head.weight.is_contiguous() and fits(head.weight)


def _scores(part: Tensor, head: OutputHead) -> tuple[Tensor, Tensor | float]:
    """Log-probabilities (rows, vocabulary) in fp32, and the slope of logits against the bare product."""
    logits = torch.nn.functional.linear(part, head.weight, head.bias)
    slope: Tensor | float = head.multiplier
    if head.softcap is not None:
        bent = torch.tanh(logits.float() * (head.multiplier / head.softcap))
        slope = head.multiplier * (1 - bent * bent)
        logits = bent * head.softcap
    elif head.multiplier != 1.0:
        logits = logits * head.multiplier
    return torch.log_softmax(logits, dim=-1, dtype=torch.float32), slope


def _turn(scores: Tensor, goal: Tensor, slope: Tensor | float) -> Tensor:
    """``d log p(goal) / d product``, in the scores' memory: (rows, vocabulary)."""
    scores.exp_().neg_().scatter_add_(1, goal, torch.ones_like(goal, dtype=torch.float32))
    return scores if isinstance(slope, float) and slope == 1.0 else scores.mul_(slope)


class _FrozenHead(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, targets: Tensor, head: OutputHead, rows: int) -> Tensor:
        found = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, hidden.shape[0], rows):
            at = slice(start, start + rows)
            if _is_compiled(head, hidden.dtype):
                logits = torch.nn.functional.linear(hidden[at], head.weight, head.bias)
                found[at] = head_scores(logits, targets[at], turn=gradient is not None)
                if gradient is not None:
                    torch.mm(logits, head.weight, out=gradient[at])
                continue
            goal = targets[at, None]
            scores, slope = _scores(hidden[at], head)
            found[at] = scores.gather(1, goal)[:, 0]
            if gradient is not None:
                gradient[at] = torch.mm(_turn(scores, goal, slope).to(hidden.dtype), head.weight)
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        # scaled in fp32 and rounded once
        return (gradient * gradients[0][:, None]).to(gradient.dtype), None, None, None


class _TrainedHead(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, head: OutputHead, rows: int
    ) -> Tensor:
        found = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        for start in range(0, hidden.shape[0], rows):
            at = slice(start, start + rows)
            found[at] = _scores(hidden[at], head)[0].gather(1, targets[at, None])[:, 0]
        ctx.save_for_backward(hidden, targets, weight, bias)
        ctx.head, ctx.rows = head, rows
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden, targets, weight, bias = ctx.saved_tensors
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros_like(weight, dtype=torch.float32)
        d_bias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        for start in range(0, hidden.shape[0], ctx.rows):
            at = slice(start, start + ctx.rows)
            scores, slope = _scores(hidden[at], ctx.head)
            turn = _turn(scores, targets[at, None], slope).mul_(gradients[0][at, None])
            low = turn.to(hidden.dtype)
            d_hidden[at] = torch.mm(low, weight)
            d_weight += torch.mm(low.t(), hidden[at])
            if d_bias is not None:
                d_bias += turn.sum(0)
        low_bias = None if d_bias is None else d_bias.to(bias.dtype)
        return d_hidden, d_weight.to(weight.dtype), low_bias, None, None, None
