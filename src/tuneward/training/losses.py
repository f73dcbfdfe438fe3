"""Losses. The output head runs only where a token is learned, chunk by chunk, and logits never exist whole.

Place on the road: between the model's hidden states and the optimizer. Knows neither batches nor model. Each loss is a
*sum*; the loop divides by the learned tokens of the whole step, so that windows of unequal size weigh right.
"""

from typing import Any, cast

import torch
from torch import Tensor

from tuneward.modeling.base_model import OutputHead


def cross_entropy_sum(hidden: Tensor, targets: Tensor, head: OutputHead, *, chunk_bytes: int) -> Tensor:
    """Sum of ``-log softmax(head(hidden))[target]`` over rows.

    Gradients with respect to ``hidden`` are made in the forward pass, chunk by chunk, while the logits are at hand;
    the backward pass only scales them. The head itself is frozen.

    Args:
        hidden: (rows, hidden).
        targets: (rows,) int64.
        head: the output head.
        chunk_bytes: memory that a chunk of logits may take, in bytes.

    Returns:
        A scalar in fp32.
    """
    return cast(Tensor, _CrossEntropySum.apply(hidden, targets, head, chunk_rows(head, hidden.dtype, chunk_bytes)))


def chunk_rows(head: OutputHead, dtype: torch.dtype, chunk_bytes: int) -> int:
    """Rows whose logits, in their own type and twice in fp32, fit into ``chunk_bytes``; at least one."""
    return max(1, chunk_bytes // (head.weight.shape[0] * (dtype.itemsize + 8)))


class _CrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, targets: Tensor, head: OutputHead, rows: int) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden)
        for start in range(0, hidden.shape[0], rows):
            part, goal = hidden[start : start + rows], targets[start : start + rows, None]
            logits = torch.nn.functional.linear(part, head.weight, head.bias)  # (rows, vocabulary)
            slope: Tensor | float = head.multiplier
            if head.softcap is not None:
                bent = torch.tanh(logits.float() * (head.multiplier / head.softcap))
                slope = head.multiplier * (1 - bent * bent)
                logits = bent * head.softcap
            elif head.multiplier != 1.0:
                logits = logits * head.multiplier
            scores = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
            total -= scores.gather(1, goal).sum()
            scores.exp_().scatter_add_(1, goal, torch.full_like(goal, -1, dtype=torch.float32))
            if head.softcap is not None or head.multiplier != 1.0:
                scores *= slope
            gradient[start : start + rows] = torch.mm(scores.to(hidden.dtype), head.weight)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        # a scalar in fp32 leaves the product in the gradient's type and is itself not rounded to it
        return gradient * gradients[0], None, None, None
