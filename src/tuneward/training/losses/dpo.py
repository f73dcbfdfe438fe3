"""DPO: the better of two answers becomes likelier than the worse, measured against a frozen reference.

With the log-ratios ``r = log p(answer) - log p_reference(answer)`` of chosen (c) and rejected (l) answers and
``d = beta (r_c - r_l)``:

- DPO (arXiv 2305.18290, equation 7): ``-log sigmoid(d)``
- conservative DPO (label smoothing e; E. Mitchell, "A note on DPO with noisy preferences", 2023):
  ``-(1 - e) log sigmoid(d) - e log sigmoid(-d)``
- IPO (arXiv 2310.12036, equation 17): ``(r_c - r_l - 1 / (2 beta))²``, with r per token as in TRL and the authors' code

The reference is the model as training found it, its starting adapter included.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuneward.training.batches import Window
from tuneward.training.losses.objective import Loss, Outputs, answer_tokens, per_answer
from tuneward.training.losses.pairs import pair_figures, supervised_term
from tuneward.training.rows import Form, Row


@dataclass(frozen=True)
class Dpo:
    """See :class:`tuneward.training.losses.objective.Objective`.

    Attributes:
        beta: strength of the pull to the reference; larger stays nearer.
        kind: ``dpo`` or ``ipo``.
        label_smoothing: share of pairs whose order is taken to be wrong.
        sft_weight: weight of the chosen answers' mean cross-entropy, added to the loss; 0 for none.
    """

    beta: float
    kind: Literal["dpo", "ipo"] = "dpo"
    label_smoothing: float = 0.0
    sft_weight: float = 0.0
    form: Form = "pair"
    needs_reference: bool = True
    unit: str = "per pair"

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """Nothing beside the model is trained."""
        return {}

    def weigh(self, row: Row) -> float:
        """Every pair counts alike."""
        return 1.0

    def survey(self, passes: Iterator[tuple[Outputs, Window]]) -> None:
        """Nothing needs to be known beforehand."""

    def __call__(self, outputs: Outputs, window: Window) -> Loss:
        """The summed loss of a window's pairs."""
        tokens = outputs.log_probs(window)
        log_probs = per_answer(tokens, window)
        ratios = log_probs - window.reference()
        losses = self.losses(ratios / answer_tokens(window) if self.kind == "ipo" else ratios)
        figures = pair_figures(self.beta * ratios.detach(), log_probs.detach())
        total = losses.sum()
        if self.sft_weight:
            supervised = supervised_term(log_probs, window)
            total = total + self.sft_weight * supervised.sum()
            figures |= {"sft_loss": (supervised.detach().sum(), float(supervised.shape[0]))}
        return Loss(total, figures)

    def losses(self, ratios: Tensor) -> Tensor:
        """(2 * pairs,) log-ratios, chosen and rejected in turn → (pairs,) losses."""
        difference = ratios[0::2] - ratios[1::2]
        if self.kind == "ipo":
            return (difference - 1 / (2 * self.beta)).square()
        smooth = self.label_smoothing
        losses = -(1 - smooth) * functional.logsigmoid(self.beta * difference)
        return losses - smooth * functional.logsigmoid(-self.beta * difference) if smooth else losses


def reference_log_probs(outputs: Outputs, window: Window) -> Tensor:
    """What rows must carry: each answer's log-probability under the model as it is, (answers,) fp32."""
    with torch.no_grad():
        return per_answer(outputs.log_probs(window), window)
