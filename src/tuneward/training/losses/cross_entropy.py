"""Cross-entropy: the loss of continued pretraining and of supervised fine-tuning.

``-sum log p(token | tokens before)`` over learned tokens, in nats. Which tokens those are, the rows say.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from tuneward.domain.record import Form
from tuneward.training.batches import Window, learned_tokens
from tuneward.training.losses.objective import Loss, Outputs, Summed
from tuneward.training.rows import Row


@dataclass(frozen=True)
class CrossEntropy:
    """See :class:`tuneward.training.losses.objective.Objective`.

    Attributes:
        form: ``document`` or ``conversation``.
    """

    form: Form
    needs_reference: bool = False
    unit: str = "nats per learned token"
    branches: int = 0

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """Nothing beside the model is trained."""
        return {}

    def weigh(self, row: Row) -> float:
        """Every learned token counts alike."""
        return learned_tokens(row)

    def survey(self, passes: Iterator[tuple[Outputs, Window]], summed: Summed) -> None:
        """Nothing needs to be known beforehand."""

    def __call__(self, outputs: Outputs, window: Window) -> Loss:
        """Minus the summed log-probabilities."""
        return Loss(-outputs.log_probs(window).sum())
