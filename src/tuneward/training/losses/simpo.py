"""SimPO: preference by mean log-probability, with a margin and without a reference.

``-log sigmoid(beta (m_c - m_l) - gamma)`` (arXiv 2405.14734, equation 6) with the mean log-probability m
per token of chosen (c) and rejected (l) answers; smoothed over e as in conservative DPO where ``label_smoothing`` is
given. Starting values are those of the authors' code.
"""

from dataclasses import dataclass

from torch import Tensor

from tuneward.training.batches import Window
from tuneward.training.losses.dpo import smoothed_loss
from tuneward.training.losses.objective import answer_tokens
from tuneward.training.losses.pairs import PairLoss


@dataclass(frozen=True, kw_only=True)
class Simpo(PairLoss):
    """See :class:`tuneward.training.losses.pairs.PairLoss`.

    Attributes:
        beta: scale of the reward.
        gamma: by how much the chosen answer's reward should exceed the other's.
        label_smoothing: share of pairs whose order is taken to be wrong.
    """

    beta: float = 2.0
    gamma: float = 0.5
    label_smoothing: float = 0.0

    def losses(self, log_probs: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        """See :class:`PairLoss`; the reward is ``beta m``."""
        rewards = self.beta * log_probs / answer_tokens(window)  # (2 * pairs,)
        return smoothed_loss(rewards[0::2] - rewards[1::2] - self.gamma, self.label_smoothing), rewards
