"""IPO: DPO whose preferred distance between two answers is finite, so that certain pairs do not drive it without end.

``(r_c - r_l - 1 / (2 beta))²`` (arXiv 2310.12036, equation 17, where beta is called tau), with the log-ratios
``r = log p(answer) - log p_reference(answer)`` of chosen (c) and rejected (l) answers. The paper does not say how an
answer of several tokens is counted. Here, as in TRL, r is the *mean over the answer's tokens*, which TRL states to be
what the authors' results were made with; a sum would make the same beta mean another thing for every length.
"""

from dataclasses import dataclass

from torch import Tensor

from tuneward.training.batches import Window
from tuneward.training.losses.objective import answer_tokens
from tuneward.training.losses.pairs import PairLoss


@dataclass(frozen=True, kw_only=True)
class Ipo(PairLoss):
    """See :class:`tuneward.training.losses.pairs.PairLoss`.

    Attributes:
        beta: strength of the pull to the reference; the wanted distance is ``1 / (2 beta)`` nats per token.
    """

    beta: float = 0.1
    needs_reference: bool = True

    def losses(self, log_probs: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        """See :class:`PairLoss`; the reward is ``beta r`` per token."""
        ratios = (log_probs - window.reference()) / answer_tokens(window)  # (2 * pairs,)
        losses = (ratios[0::2] - ratios[1::2] - 1 / (2 * self.beta)).square()
        return losses, self.beta * ratios
