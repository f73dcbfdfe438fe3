"""ORPO: supervised fine-tuning on the chosen answer, with a penalty on the odds of the rejected; no reference.

``L_sft - beta log sigmoid(log odds_c - log odds_l)`` (arXiv 2403.07691, section 4, equations 4, 6 and 7, where beta is
called lambda) with ``odds = p / (1 - p)`` and ``log p`` the *mean over the answer's tokens* (equation 3). ``L_sft`` is
the mean cross-entropy of the chosen answer's tokens, the supervised term that every pair loss can have. The authors'
code and TRL take the prompt's tokens into that mean as well; here, as in the paper, it is the answer alone.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tuneward.training.batches import Window
from tuneward.training.losses.objective import answer_tokens
from tuneward.training.losses.pairs import PairLoss


@dataclass(frozen=True, kw_only=True)
class Orpo(PairLoss):
    """See :class:`tuneward.training.losses.pairs.PairLoss`.

    Attributes:
        beta: weight of the odds ratio.
    """

    beta: float = 0.1
    sft_weight: float = 1.0

    def losses(self, log_probs: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        """See :class:`PairLoss`; the reward is ``beta log p``."""
        means = log_probs / answer_tokens(window)  # (2 * pairs,)
        odds = means - log_complement(means)
        return -self.beta * functional.logsigmoid(odds[0::2] - odds[1::2]), self.beta * means


def log_complement(log_p: Tensor) -> Tensor:
    """``log(1 - p)`` of ``log p``, elementwise and exact at both ends.

    Of a certain answer the smallest positive number stands for ``1 - p``, so that odds stay finite. M. Mächler,
    "Accurately computing log(1 - exp(-|a|))", 2012, equation 7.
    """
    tiny = torch.finfo(log_p.dtype).tiny
    near = torch.log((-torch.expm1(log_p)).clamp(min=tiny))
    far = torch.log1p(-torch.exp(log_p.clamp(max=-math.log(2))))
    return torch.where(log_p > -math.log(2), near, far)
