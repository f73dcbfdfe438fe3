"""The loss head: log-probabilities of learned tokens, chunk by chunk, so that logits never exist whole.

Place on the road: between the model's hidden states and every loss. The head runs only where a token is learned.
Gradients with respect to the hidden states are made in the forward pass, while a chunk's logits are at hand; the
backward pass only scales each row, which is why one function serves every loss. A head in four bits is made whole once
per call where the memory of a chunk holds it, and goes slice by slice of the vocabulary where it does not. Knows
neither batches nor model.
"""

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from tuneward.modeling.base_model import OutputHead
from tuneward.modeling.kernels.loading import fits
from tuneward.modeling.kernels.pointwise import head_scores
from tuneward.modeling.quantisation import Nf4Matrix
from tuneward.modeling.quantised_ends import slices

#: On a CPU rows are filled up to a multiple of this: its product library makes and keeps code for every new number.
ROUND_ROWS = 32

#: A slice of the vocabulary holds this many tokens, or the rows are cut.
SLICE_TOKENS = 1024


def token_log_probs(hidden: Tensor, targets: Tensor, head: OutputHead, *, chunk_bytes: int) -> Tensor:
    """``log softmax(head(hidden))[target]`` of each row.

    Where the head itself is trained, its chunks are computed again in the backward pass, which alone knows how much
    each row counts.

    Args:
        hidden: (rows, hidden).
        targets: (rows,) int64.
        head: the output head.
        chunk_bytes: memory that a chunk of logits may take, in bytes; and a head in four bits, made whole for the call,
            once more.

    Returns:
        (rows,) in fp32, in nats.
    """
    asked, fill = hidden.shape[0], -hidden.shape[0] % ROUND_ROWS if hidden.device.type == "cpu" else 0
    if fill:
        hidden, targets = functional.pad(hidden, (0, 0, 0, fill)), functional.pad(targets, (0, fill))
    return _log_probs(hidden, targets, head, chunk_bytes)[:asked]


def _log_probs(hidden: Tensor, targets: Tensor, head: OutputHead, chunk_bytes: int) -> Tensor:
    if isinstance(head.weight, Nf4Matrix):
        if not whole_bytes(head.weight, chunk_bytes):
            return cast(Tensor, _SlicedHead.apply(hidden, targets, head, chunk_bytes))
        head = replace(head, weight=head.weight.dequantise())
    rows = chunk_rows(head, hidden.dtype, chunk_bytes)
    rows -= rows % ROUND_ROWS if rows > ROUND_ROWS else 0
    trained = head.weight.requires_grad or (head.bias is not None and head.bias.requires_grad)
    if trained and torch.is_grad_enabled():
        return cast(Tensor, _TrainedHead.apply(hidden, _plain(head), head.bias, targets, head, rows))
    return cast(Tensor, _FrozenHead.apply(hidden, targets, head, rows))


def chunk_rows(head: OutputHead, dtype: torch.dtype, chunk_bytes: int) -> int:
    """Rows whose logits fit into ``chunk_bytes``; at least one."""
    return max(1, chunk_bytes // (head.weight.shape[0] * logit_bytes(head, dtype)))


def logit_bytes(head: OutputHead, dtype: torch.dtype) -> int:
    """What one logit takes: kernels work in its place; without them it stands there twice in fp32 as well."""
    return dtype.itemsize if _is_compiled(head, dtype) else dtype.itemsize + 8


def _is_compiled(head: OutputHead, dtype: torch.dtype) -> bool:
    plain, weight = head.softcap is None and head.multiplier == 1.0, head.weight
    if isinstance(weight, Nf4Matrix):  # as it will be when it is made whole
        weight = torch.empty((1, 1), dtype=weight.dtype, device=weight.device)
    return plain and dtype is weight.dtype and weight.is_contiguous() and fits(weight)


def whole_bytes(weight: Tensor | Nf4Matrix, chunk_bytes: int) -> int:
    """Memory that a head's weight takes beside its chunks of logits: 0 where it lies whole, or goes in slices."""
    made = weight.numel() * weight.dtype.itemsize if isinstance(weight, Nf4Matrix) else 0
    return made if made <= chunk_bytes else 0


def _plain(head: OutputHead) -> Tensor:
    assert isinstance(head.weight, Tensor), "one in four bits is made whole before, or goes in slices"
    return head.weight


def _scores(part: Tensor, head: OutputHead) -> tuple[Tensor, Tensor | float]:
    """Log-probabilities (rows, vocabulary) in fp32, and the slope of logits against the bare product."""
    logits, slope = _logits(part, _plain(head), head.bias, head)
    return torch.log_softmax(logits, dim=-1, dtype=torch.float32), slope


def _logits(part: Tensor, weight: Tensor, bias: Tensor | None, head: OutputHead) -> tuple[Tensor, Tensor | float]:
    """Logits (rows, tokens of ``weight``), and their slope against the bare product."""
    logits = functional.linear(part, weight, bias)
    slope: Tensor | float = head.multiplier
    if head.softcap is not None:
        bent = torch.tanh(logits.float() * (head.multiplier / head.softcap))
        slope = head.multiplier * (1 - bent * bent)
        logits = bent * head.softcap
    elif head.multiplier != 1.0:
        logits = logits * head.multiplier
    return logits, slope


def _turn(scores: Tensor, goal: Tensor, slope: Tensor | float) -> Tensor:
    """``d log p(goal) / d product``, in the scores' memory: (rows, vocabulary)."""
    scores.exp_().neg_().scatter_add_(1, goal, torch.ones_like(goal, dtype=torch.float32))
    return scores if isinstance(slope, float) and slope == 1.0 else scores.mul_(slope)


class _FrozenHead(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, targets: Tensor, head: OutputHead, rows: int) -> Tensor:
        found = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        gradient, weight = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None, _plain(head)
        for start in range(0, hidden.shape[0], rows):
            at = slice(start, start + rows)
            if _is_compiled(head, hidden.dtype):
                logits = functional.linear(hidden[at], weight, head.bias)
                found[at] = head_scores(logits, targets[at], turn=gradient is not None)
                if gradient is not None:
                    torch.mm(logits, weight, out=gradient[at])
                continue
            goal = targets[at, None]
            scores, slope = _scores(hidden[at], head)
            found[at] = scores.gather(1, goal)[:, 0]
            if gradient is not None:
                gradient[at] = torch.mm(_turn(scores, goal, slope).to(hidden.dtype), weight)
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        # scaled in fp32 and rounded once
        return (gradient * gradients[0][:, None]).to(gradient.dtype), None, None, None


class _SlicedHead(torch.autograd.Function):
    """The head in four bits, twice over the vocabulary: once for the sums, once for the gradients."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, targets: Tensor, head: OutputHead, room: int) -> Tensor:
        assert isinstance(head.weight, Nf4Matrix), "a plain head goes by rows"
        outside = int(((targets < 0) | (targets >= head.weight.out_features)).sum())
        if outside:
            raise IndexError(f"goals outside a vocabulary of {head.weight.out_features}: {outside}")
        found = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        of_row, of_token = hidden.element_size() + 8, head.weight.in_features * head.weight.dtype.itemsize
        rows = max(1, (room // SLICE_TOKENS - of_token) // of_row)
        for start in range(0, hidden.shape[0], rows):
            at = slice(start, start + rows)
            part, goal = hidden[at], targets[at]
            # bytes for a token of a slice: its row of the weight, and its logits of all rows
            slice_bytes = room * of_token // (of_token + part.shape[0] * of_row)
            highest = torch.full((part.shape[0],), -torch.inf, device=hidden.device)
            total, wanted = torch.zeros_like(highest), torch.zeros_like(highest)
            for tokens, weight in slices(head.weight, slice_bytes):
                logits, _ = _logits(part, weight, _of(head.bias, tokens), head)
                inside, place = _inside(goal, tokens)
                wanted = torch.where(inside, logits.gather(1, place)[:, 0].float(), wanted)
                raised = torch.maximum(highest, logits.amax(-1).float())
                added = logits.float().sub_(raised[:, None]).exp_().sum(-1)
                total = total * (highest - raised).exp() + added
                highest = raised
            total = total.log()  # apart from the highest logit, beside which it would lose its last digits
            found[at] = (wanted - highest) - total
            if gradient is None:
                continue
            summed = torch.zeros(part.shape, dtype=torch.float32, device=hidden.device)
            for tokens, weight in slices(head.weight, slice_bytes):
                logits, slope = _logits(part, weight, _of(head.bias, tokens), head)
                inside, place = _inside(goal, tokens)
                turn = logits.float().sub_(highest[:, None]).sub_(total[:, None]).exp_().neg_()
                turn.scatter_add_(1, place, inside[:, None].float())
                turn = turn if isinstance(slope, float) and slope == 1.0 else turn.mul_(slope)
                summed += torch.mm(turn.to(hidden.dtype), weight)
            gradient[at] = summed.to(hidden.dtype)
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return _FrozenHead.backward(ctx, *gradients)


def _of(bias: Tensor | None, tokens: slice) -> Tensor | None:
    return None if bias is None else bias[tokens]


def _inside(goal: Tensor, tokens: slice) -> tuple[Tensor, Tensor]:
    """Whether each row's goal is among ``tokens``, and where: (rows,) and (rows, 1)."""
    inside = (goal >= tokens.start) & (goal < tokens.stop)
    return inside, torch.where(inside, goal - tokens.start, 0)[:, None]


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
