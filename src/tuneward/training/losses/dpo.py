"""DPO: the better of two answers becomes likelier than the worse, measured against a frozen reference.

With the log-ratios ``r = log p(answer) - log p_reference(answer)`` of chosen (c) and rejected (l) answers, summed over
their tokens, and ``d = beta (r_c - r_l)``:

- DPO (arXiv 2305.18290, section 4, equation 7): ``-log sigmoid(d)``
- conservative DPO (label smoothing e; E. Mitchell, "A note on DPO with noisy preferences", 2023):
  ``-(1 - e) log sigmoid(d) - e log sigmoid(-d)``

The reference is the model as training found it, its starting adapter included.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from tuneward.training.batches import Window
from tuneward.training.losses.pairs import PairLoss


@dataclass(frozen=True, kw_only=True)
class Dpo(PairLoss):
    """See :class:`tuneward.training.losses.pairs.PairLoss`.

    Attributes:
        beta: strength of the pull to the reference; larger stays nearer.
        label_smoothing: share of pairs whose order is taken to be wrong.
    """

    beta: float = 0.1
    label_smoothing: float = 0.0
    needs_reference: bool = True

    def losses(self, log_probs: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        """See :class:`PairLoss`; the implicit reward is ``beta r`` (equation 5 without its constant)."""
        rewards = self.beta * (log_probs - window.reference())  # (2 * pairs,)
        return smoothed_loss(rewards[0::2] - rewards[1::2], self.label_smoothing), rewards


def smoothed_loss(difference: Tensor, smoothing: float) -> Tensor:
    """``-(1 - e) log sigmoid(d) - e log sigmoid(-d)``, elementwise."""
    losses = -(1 - smoothing) * functional.logsigmoid(difference)
    return losses - smoothing * functional.logsigmoid(-difference) if smoothing else losses
