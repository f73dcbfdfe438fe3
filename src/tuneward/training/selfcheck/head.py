"""Checks of the loss head: chunks of logits give what all logits at once give.

Place on the road: the part of the self-check about ``losses.head``.
"""

import math
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from tuneward.modeling.base_model import OutputHead, hidden_states
from tuneward.training.batches import Window
from tuneward.training.losses.head import token_log_probs
from tuneward.training.selfcheck.statement import Measured, Statement
from tuneward.training.selfcheck.subject import Subject

#: Learned tokens that the plain head sees at once, and memory of its weight; of a larger one the first rows are taken.
MOST_TOKENS, MOST_BYTES = 24, 2**29
TOLERANCE = 1e-6


def chunked(subject: Subject) -> Measured:
    """Log-probabilities, gradients of the states and, for a trained head, of its weights: chunk by chunk and plain.

    Log-probabilities are fp32 as in training; products are fp64, since an fp32 sum over a whole vocabulary depends in
    its fourth digit on the shape of the product. All are measured against the size of their terms, which cancel.
    """
    adapted = subject.whole
    window = Window.pack(subject.short_rows())
    with torch.no_grad():
        hidden = hidden_states(adapted.model, window.ids, window.layout)[0][window.places[:MOST_TOKENS]].double()
    rows = min(adapted.head.weight.shape[0], MOST_BYTES // (8 * hidden.shape[1]))
    weight = cast(Tensor, adapted.head.weight).detach()[:rows].double()
    bias = None if adapted.head.bias is None else adapted.head.bias.detach()[:rows].double()
    targets = window.targets[:MOST_TOKENS] % rows
    counts = torch.linspace(0.5, 2, len(targets))  # each token counts otherwise, as in a preference loss
    room = 7 * rows * (hidden.dtype.itemsize + 8)  # seven rows a chunk, the last one shorter
    found = 0.0
    for trained in (False, True):
        own = weight.clone().requires_grad_(trained)
        head = replace(adapted.head, weight=own, bias=bias)
        states = hidden.clone().requires_grad_(True)
        values = token_log_probs(states, targets, head, chunk_bytes=room)
        asked = [states, own] if trained else [states]
        made = torch.autograd.grad((values * counts).sum(), asked)
        wanted, sizes = _plain(hidden, targets, head, counts)
        pairs = zip((values.detach(), *made), wanted, sizes, strict=False)
        apart = [float((one - two).abs().max() / size) for one, two, size in pairs]
        found = math.nan if any(math.isnan(x) for x in apart) else max(found, *apart)
    return Measured(found, adapted.on, TOLERANCE)


def _plain(
    hidden: Tensor, targets: Tensor, head: OutputHead, counts: Tensor
) -> tuple[tuple[Tensor, ...], tuple[float, ...]]:
    """By hand and at once: log-probabilities, gradients of states and weights; and the size of the largest terms."""
    weight = cast(Tensor, head.weight).detach()
    logits = hidden @ weight.t() if head.bias is None else hidden @ weight.t() + head.bias
    logits, slope = logits * head.multiplier, torch.full_like(logits, head.multiplier)
    if head.softcap is not None:
        logits = head.softcap * torch.tanh(logits / head.softcap)
        slope = slope * (1 - (logits / head.softcap) ** 2)
    scores = torch.log_softmax(logits.float(), 1)
    turn = -scores.double().exp()
    turn[torch.arange(len(targets)), targets] += 1
    turn = turn * slope * counts[:, None]  # d sum / d product: (tokens, vocabulary)
    results = scores.gather(1, targets[:, None])[:, 0], turn @ weight, turn.t() @ hidden
    terms = logits, turn.abs() @ weight.abs(), turn.abs().t() @ hidden.abs()
    return results, tuple(float(term.abs().max()) for term in terms)


STATEMENTS: dict[str, Statement] = {
    "loss head": Statement(
        "The loss head, chunk by chunk, is the plain head.",
        "log-probabilities and gradients of states and of a trained head, in chunks and all at once; products in fp64",
        chunked,
    ),
}
