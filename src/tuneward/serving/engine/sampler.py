"""Sampler: the next token of each row, by that row's own settings and its own random numbers.

Place on the road: between the decoder's logits and the scheduler. A row's choice depends on its logits, its settings
and its seed alone, never on its neighbours. Knows no text and no requests.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How one answer is sampled.

    Attributes:
        max_tokens: most tokens, the one that ends the answer included.
        temperature: divisor of the logits; 0 takes the likeliest token always.
        top_p: the smallest set of likeliest tokens with at least this probability is drawn from (arXiv 1904.09751).
        seed: of the row's random numbers; None for a fresh one.
        stop: texts before which the answer ends.
        top_logprobs: how many likeliest tokens to report with each token; None reports no log-probabilities at all.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None


@dataclass(frozen=True)
class Choice:
    """A chosen token.

    Attributes:
        token: its id.
        logprob: natural logarithm of its probability under the model, before temperature; None if not asked for.
        top: the likeliest ids with theirs, likeliest first.
    """

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Sampler:
    """One row's settings and random numbers."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._random = torch.Generator()
        self._random.manual_seed(secrets.randbits(63) if sampling.seed is None else sampling.seed % 2**63)

    def draw(self, logits: Tensor) -> int:
        """Draw a token from ``logits`` (vocabulary,) fp32, by inverting the cumulative distribution at one number."""
        scaled = (logits - logits.max()).double() / self.sampling.temperature
        probabilities = torch.softmax(scaled, dim=-1)
        ids = None
        if self.sampling.top_p < 1:
            probabilities, ids = probabilities.sort(descending=True, stable=True)
            before = probabilities.cumsum(0) - probabilities
            probabilities = probabilities[before < self.sampling.top_p]
        heights = probabilities.cumsum(0)
        point = torch.rand((), generator=self._random, dtype=torch.float64) * heights[-1]
        index = int(torch.searchsorted(heights, point, right=True).clamp_(max=len(heights) - 1))
        return index if ids is None else int(ids[index])


@torch.inference_mode()
def choose(logits: Tensor, samplers: Sequence[Sampler]) -> list[Choice | None]:
    """The next token of every row; None for a row whose logits are no finite numbers.

    Args:
        logits: (rows, vocabulary), in the model's type.
        samplers: one per row.
    """
    highest, likeliest = logits.max(dim=-1)
    finite, tokens = highest.isfinite().tolist(), likeliest.tolist()
    choices: list[Choice | None] = []
    for row, sampler in enumerate(samplers):
        if not finite[row]:
            choices.append(None)
            continue
        sampling, token = sampler.sampling, tokens[row]
        if sampling.temperature > 0:
            token = sampler.draw(logits[row].float().cpu())
        if sampling.top_logprobs is None:
            choices.append(Choice(token))
            continue
        logprobs = torch.log_softmax(logits[row].float(), dim=-1)
        values, ids = logprobs.topk(sampling.top_logprobs)
        top = tuple(zip(ids.tolist(), values.tolist(), strict=True))
        choices.append(Choice(token, float(logprobs[token]), top))
    return choices
